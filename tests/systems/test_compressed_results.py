"""What a comparison calls a saving, on curves whose answer is known by hand."""

import json
from pathlib import Path

import pytest

from benchmarks.compressed.results import Results, needed


def run(arm: str, seed: int, frechet: list[float], sliced: list[float]) -> dict:
    curves = {"frechet": frechet, "sliced": sliced}
    return {"kind": "run", "arm": arm, "seed": seed, "updates": [0, 100, 200], **curves}


def cost(arm: str, update: float, network: float, recovery: float) -> dict:
    each = {"update": update, "network": network, "recovery": recovery}
    return {"kind": "cost", "arm": arm, **each}


def test_updates_are_read_between_measurements_and_all_goals_count() -> None:
    line = run("a", 0, [10.0, 6.0, 2.0], [1.0, 0.5, 0.4])
    assert needed(line, {"frechet": 4.0}) == pytest.approx(150)
    assert needed(line, {"frechet": 8.0, "sliced": 0.45}) == pytest.approx(150)
    assert needed(line, {"frechet": 8.0, "sliced": 0.6}) == pytest.approx(80)
    assert needed(line, {"frechet": 8.0, "sliced": 0.3}) is None
    assert needed(line, {"frechet": 10.0, "sliced": 1.0}) == 0


def test_a_saving_is_the_time_of_training_and_a_thousand_samples(tmp_path: Path) -> None:
    every = [
        run("plain", 0, [10.0, 5.0, 4.0], [1.0, 0.5, 0.4]),
        run("plain", 1, [10.0, 5.0, 2.0], [1.0, 0.5, 0.2]),
        run("small", 0, [10.0, 3.0, 2.0], [1.0, 0.3, 0.2]),  # at the goals after 100 updates
        run("small", 1, [10.0, 5.0, 1.0], [1.0, 0.5, 0.4]),  # never: sliced stays above 0.3
        *(cost("plain", update, 0.02, 0.0) for update in (0.3, 0.2, 0.1)),  # median 0.2
        cost("small", 0.01, 0.002, 0.001),
    ]
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in every), encoding="utf-8")
    ratios, goals = Results(path).saving("small", "plain")
    assert goals == pytest.approx({"frechet": 3.0, "sliced": 0.3})
    plain, small = 200 * 0.2 + 1000 * 0.02, 100 * 0.01 + 1000 * 0.003
    assert ratios[0] == pytest.approx(plain / small)
    assert ratios[1] is None
