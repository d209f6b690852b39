"""The tables of README.md, from results.json and gradients.json, written into it between its marks.

python -m benchmarks.peers.table
"""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peers.settings import CHECKED, SAMPLES

HERE = Path(__file__).parent
HEAD = (
    "program",
    "network calls a round",
    "CPU s a round",
    "bare calls, CPU s",
    "overhead",
    "samples per CPU s",
    "peer / it",
    "peak MiB",
    "imports, CPU s",
    "ready, CPU s",
)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """median [smallest, largest]"""
    low, high = min(values), max(values)
    return f"{median(values):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def ordinary(line: dict[str, Any]) -> list[tuple[float, float]]:
    """Seconds of the rounds that check nothing, with the bare calls that followed."""
    pairs = zip(line["rounds"], line["bare"], strict=True)
    return [(r["seconds"], bare) for r, bare in pairs if not r["checked"]]


def calls(line: dict[str, Any]) -> str:
    """Evaluations of the denoiser, sampled and trained."""
    counts = line["counts"]
    forward, trained = counts.get("denoiser", 0), counts.get("denoiser trained", 0)
    return f"{forward} forward + {trained} forward and backward"


def amortised(line: dict[str, Any], costly: dict[str, Any] | None) -> float:
    """Seconds a round where one of ten asks the network twice; `costly` is one that always does."""
    usual = median(seconds for seconds, _ in ordinary(line))
    if costly is None:
        return usual
    twice = median(seconds for seconds, _ in ordinary(costly))
    return ((CHECKED - 1) * usual + twice) / CHECKED


def table(lines: list[dict[str, Any]]) -> str:
    """One scene; the peer comes first."""
    by_name = {line["program"]: line for line in lines}
    peer = median(seconds for seconds, _ in ordinary(lines[0]))
    rows = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    for line in lines:
        name, found = line["program"], ordinary(line)
        once = name in ("scoreward", "scoreward, newest packages")
        costly = by_name["scoreward, two forwards"] if once else None
        seconds = amortised(line, costly)
        cells = [
            name,
            calls(line),
            spread([s for s, _ in found]),
            spread([bare for _, bare in found]),
            spread([s / bare for s, bare in found], 3),
            f"{SAMPLES / seconds:.1f}",
            f"{peer / seconds:.2f}",
            f"{line['peak_mib']:.0f}",
            f"{median(r['imported'] for r in line['ready']):.1f}",
            f"{median(r['imported'] + r['built'] for r in line['ready']):.1f}",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def gradients() -> str:
    """gradients.json as a table."""
    found = json.loads((HERE / "gradients.json").read_text())
    rows = ["| what is compared | cosine | relative difference |", "|---|---|---|"]
    for name, line in found.items():
        rows.append(f"| {name} | {line['cosine']:.10f} | {line['difference']:.1e} |")
    return "\n".join(rows)


def versions(results: dict[str, Any]) -> str:
    """Who ran on what."""
    seen = {}
    for lines in results.values():
        for line in lines:
            which = "newest packages" if "newest" in line["program"] else "the others"
            seen[which] = ", ".join(f"{k} {v}" for k, v in line["versions"].items() if k != "trl")
    return "\n".join(f"- {which}: {words}" for which, words in sorted(seen.items(), reverse=True))


def main() -> None:
    results = json.loads((HERE / "results.json").read_text())
    parts = {name: table(lines) for name, lines in results.items()}
    parts |= {"gradients": gradients(), "versions": versions(results)}
    page = HERE / "README.md"
    text = page.read_text(encoding="utf-8")
    for name, content in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n{content}\n{end}{rest.split(end)[1]}"
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
