"""README.md out of results.json: python -m benchmarks.reward_server.page"""

import json
from pathlib import Path
from typing import Any

from benchmarks.reward_server.work import KILL_AFTER, PER_PICTURE, PICTURES
from scoreward.rewards.remote.fleet import Asking

HERE = Path(__file__).parent
READ = """
A round was to cost less than 5 % more than in the process. With the default encoding the median
{verdict}. What client and server do beside the reward can be done while it is computed, if a
processor is free for it.
"""
TOP = """# What a reward server costs

`python -m benchmarks.reward_server.run` scores {pictures} pictures in the process, then behind a
server in another process over loopback, alternately, and writes `results.json` and this page.

`busy` really computes: 10 ms of one processor for each picture. `asleep` sleeps 10 ms for each, as
a processor does while an accelerator works. The ratio is remote seconds over in-process seconds of
the same repetition: median, with the smallest and the largest. Client and server seconds are
processor time for a remote round; those of the server include the reward's own
({own:.2f} s for `busy`, none for `asleep`). The last column is how much of the machine's
{processors} processors other programs used meanwhile: where they leave nothing, work that a server
does beside a reward cannot be hidden behind it.

| reward | pixels | encoding | ratio | from | to | client s | server s | used by others |
|---|---|---|---|---|---|---|---|---|
"""
ROW = (
    "| {reward} | {pixels} | {encoding} | {ratio_median:.3f} | {ratio_min:.3f} | {ratio_max:.3f} "
    "| {client_processor_seconds:.3f} | {server_processor_seconds:.3f} "
    "| {share_of_processors_used_by_others:.0%} |\n"
)
DEATHS = """
## A server dies

One of two servers is killed with SIGKILL {kill_after} s into a round of `busy`; then it is started
again. Of {count} rounds none was lost (one that is lost stops the benchmark); in {middle} the
server died while it worked; {same} gave exactly the numbers of the reward in the process on the
same 8-bit pictures. Seconds undisturbed → with the death: {seconds}.
"""


def page(told: dict[str, Any]) -> str:
    """The page, Markdown."""
    deaths = told["deaths"]
    seconds = ", ".join(f"{d['undisturbed_seconds']:.2f} → {d['seconds']:.2f}" for d in deaths)
    processors = told["machine"]["processors"]
    top = TOP.format(pictures=PICTURES, own=PICTURES * PER_PICTURE, processors=processors)
    rows = "".join(ROW.format(**row) for row in told["costs"])
    end = DEATHS.format(
        kill_after=KILL_AFTER,
        count=len(deaths),
        middle=sum(d["killed_in_the_round"] for d in deaths),
        same=sum(d["same_answer"] for d in deaths),
        seconds=seconds,
    )
    return top + rows + READ.format(verdict=verdict(told["costs"])) + end


def verdict(costs: list[dict[str, Any]]) -> str:
    """Where the median of the default encoding is below 1.05, and where it is not."""
    mine = [row for row in costs if row["encoding"] == Asking().encoding]
    said = []
    for name, met in (("is below that for", True), ("is **not** below that for", False)):
        rows = [r for r in mine if (r["ratio_median"] < 1.05) == met]
        if rows:
            said.append(f"{name} {', '.join('{reward} at {pixels}'.format(**r) for r in rows)}")
    return " and ".join(said)


def main() -> None:
    told = json.loads((HERE / "results.json").read_text())
    (HERE / "README.md").write_text(page(told))


if __name__ == "__main__":
    main()
