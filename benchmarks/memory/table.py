"""Write the tables of docs/memory.md: python -m benchmarks.memory.table"""

import json
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "memory.md"
START, END = "<!-- fits -->", "<!-- /fits -->"


def rows() -> list[str]:
    """One line a run: the peak with each setting, and what each card needs."""
    content = json.loads((HERE / "results.json").read_text())
    steps = len(content["settings"]["ladder"])
    cards = list(content["results"][0]["fits"])
    head = ["method on a task", *(str(n) for n in range(steps)), *(f"{card} GB" for card in cards)]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for line in content["results"]:
        peaks = [f"{peak:.1f}" for peak in line["peaks"]]
        fits = [
            "no" if n is None else "as it is" if n == 0 else f"up to {n}"
            for n in line["fits"].values()
        ]
        task, _, method = line["recipe"].partition("_")
        lines.append(f"| `{method} --on {task}` | {' | '.join([*peaks, *fits])} |")
    return lines


def needed(step: int | None) -> str:
    """The last setting that a card needs."""
    return "no" if step is None else "as it is" if step == 0 else f"up to {step}"


def main() -> None:
    text = PAGE.read_text()
    before, rest = text.split(START)
    _, after = rest.split(END)
    PAGE.write_text(before + START + "\n" + "\n".join(rows()) + "\n" + END + after)


if __name__ == "__main__":
    main()
