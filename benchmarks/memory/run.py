"""Which settings fit which card, by the planner: python -m benchmarks.memory.run

Everything here is computed from configuration; no weights are read and no card was used.
"""

import json
import tempfile
import time
from pathlib import Path

from benchmarks.memory.architectures import ARCHITECTURES, write
from scoreward.commands.plan import CARDS, LADDER, OWN, on_paper

HERE = Path(__file__).parent
RECIPES = {
    "sd15": ("sd15_ddpo", "sd15_vgrpo"),
    "sdxl": ("sdxl_ddpo",),
    "sd35": ("sd35_vgrpo", "sd35_flow_grpo"),
    "flux": ("flux_vgrpo", "flux_mixgrpo"),
    "wan": ("wan_vgrpo", "wan_flow_grpo"),
}
ONE_CARD = ("--geometry.prompts", "8", "--geometry.group", "8", "--task.reward", "contrast")


def peaks(recipe: str, folder: Path) -> list[float]:
    """GiB of tensors with 1, 2, … rungs of the ladder."""
    found = []
    for length in range(1, len(LADDER) + 1):
        more = [word for rung in LADDER[:length] for word in rung.words]
        words = ["--model", str(folder), *ONE_CARD, *more]
        found.append(on_paper(recipe, words)[1].peak / 2**30)
    return found


def main() -> None:
    results = known()
    for name in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / name
            folder.mkdir()
            count = write(name, folder)
            for recipe in RECIPES[name]:
                if any(line["recipe"] == recipe for line in results):
                    continue
                began = time.process_time()
                found = peaks(recipe, folder)
                fits = {
                    str(card): next(
                        (i for i, p in enumerate(found) if p + OWN / 2**30 <= card), None
                    )
                    for card in CARDS
                }
                line = {"recipe": recipe, "parameters": count, "peaks": found, "fits": fits}
                results.append(line)
                print(recipe, count, [round(p, 1) for p in found], fits)
                print(f"  {time.process_time() - began:.0f} CPU s", flush=True)
                keep(results)


def settings() -> dict[str, list]:
    """What the numbers depend on."""
    return {"round": list(ONE_CARD), "ladder": [list(r.words) for r in LADDER]}


def known() -> list[dict]:
    """Lines of an earlier call with the same settings; delete the file to begin anew."""
    path = HERE / "results.json"
    content = json.loads(path.read_text()) if path.is_file() else {}
    return content["results"] if content.get("settings") == settings() else []


def keep(results: list[dict]) -> None:
    content = {"settings": settings(), "results": results}
    (HERE / "results.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
