"""Reading, grouping and comparing runs: every number of the tables computed by hand."""

from pathlib import Path
from typing import Any

import pytest

from scoreward.report.comparison import sentences, tables
from scoreward.report.comparison.comparison import (
    at_drift,
    curve_of,
    equal_drift,
    ratios,
    reach,
    read_inputs,
    reference,
    tasks,
)
from scoreward.verdict.statistics import estimate
from tests.report.conftest import FakeRun
from tests.report.lines import FAST, LOST, SLOW, line, task_of, write

LESSON = Path(__file__).parents[2] / "scoreward" / "assets" / "portraits" / "unanchored"
PLAIN = ("judge", "-")


def line_of(folder: Path) -> dict[str, Any]:
    return curve_of(folder)


def paints(*names: str) -> tables.Colours:
    return dict.fromkeys(names, PLAIN)


def row(table: tables.Table | None, name: str) -> dict[str, tables.Cell]:
    """Cells of one method by column."""
    assert table is not None
    (found,) = [r for r in table.rows if r.name == name]
    return dict(zip([c.text for c in table.head[1:]], found.cells, strict=True))


# Reading


def test_a_run_folder_becomes_a_line_that_counts_a_backward_pass_twice(fake_run: FakeRun) -> None:
    """640 behaviour, 256 forward and 256 backward evaluations a round: 640 + 256 + 2 × 256."""
    found = line_of(fake_run(rounds=20))
    assert (found["task"], found["method"], found["seed"]) == ("portraits", "vgrpo", 0)
    assert found["evaluations"] == [0, 14080, 28160]
    assert found["seconds"] == [0.0, 22.0, 44.0]
    assert found["settings"]["objective"]["anchor"] == 0.1
    assert found["drift"] == [None] * 3


def test_the_line_of_the_committed_run_has_its_recorded_numbers() -> None:
    found = line_of(LESSON)
    assert found["evaluations"][:2] == [0, 33536 + 12800 + 2 * 12800]
    assert found["judge"][1] == 0.9860491079743952
    assert found["sde"]["diversity"][1] == 0.03556556371040642
    assert {len(found[k]) for k in ("evaluations", "seconds", "reward", "drift", "nearest")} == {4}


def test_a_line_of_a_folder_reads_back_as_the_folder(fake_run: FakeRun, tmp_path: Path) -> None:
    folder = fake_run(rounds=20)
    (from_file,) = read_inputs([write(tmp_path / "curves.jsonl", curve_of(folder))])
    (from_folder,) = read_inputs([folder])
    assert from_file.same_run(from_folder)
    assert from_file.settings == from_folder.settings
    (once,) = read_inputs([tmp_path / "curves.jsonl", folder])
    assert once.run is not None


def test_a_recipe_without_a_task_is_its_own_task(fake_run: FakeRun) -> None:
    found = line_of(fake_run(rounds=2, about={"recipe": "mine"}))
    assert (found["task"], found["method"]) == ("mine", "mine")


def test_keys_nobody_asked_for_are_let_through(tmp_path: Path) -> None:
    task = task_of(tmp_path, line("a", [0.0, 1.0], samplers={"ode5": {"reward": 1}}, words="--x 1"))
    assert task.budget == 100


def test_null_is_a_gap_and_not_a_zero(tmp_path: Path) -> None:
    task = task_of(tmp_path, line("a", [0.0, None, 1.0]), line("b", [0.0, 0.1, 0.2]))
    (a,) = [m for m in task.methods if m.name == "a"]
    assert a.at("reward", 100) == estimate([0.5])


def test_the_sde_numbers_are_used_when_asked_for(tmp_path: Path) -> None:
    one = line("a", [0.0, 1.0], sde={"reward": [0.0, 3.0]})
    task = task_of(tmp_path, one, sampler="sde")
    assert task.measures() == ["reward"]
    assert task.methods[0].at("reward") == estimate([3.0])


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([line("a", [0.0, 1.0], judge=[1.0])], r"curves.jsonl:1: `judge` must have one value per"),
        ([line("a", [0.0, 1.0], evaluations=[100, 0])], "`evaluations` must be numbers that never"),
        ([line("a", [0.0, 1.0], evaluations=[])], "must have one value per evaluation, 0, but"),
        ([{"task": "toy", "method": "a"}], "curves.jsonl:1 has no `seed`"),
        (
            [line("a", [0.0, 1.0]), line("a", [0.0, 2.0])],
            "seed 0 of a on toy came twice, from .*curves.jsonl:1 and .*curves.jsonl:2; give each",
        ),
    ],
)
def test_a_line_that_cannot_be_compared_is_refused_by_name(
    tmp_path: Path, lines: list[dict[str, Any]], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        task_of(tmp_path, *lines)


def test_what_is_no_run_is_refused_in_a_sentence(tmp_path: Path, fake_run: FakeRun) -> None:
    with pytest.raises(ValueError, match="nothing to compare; give run folders"):
        read_inputs([])
    with pytest.raises(ValueError, match=r"but .*absent does not exist"):
        read_inputs([tmp_path / "absent"])
    with pytest.raises(ValueError, match=r"`runs` must be a run folder, but .* has no run.json"):
        read_inputs([tmp_path])
    (tmp_path / "bad.jsonl").write_text("[1, 2]\n")
    with pytest.raises(ValueError, match=r"bad.jsonl:1 is not a JSON object"):
        read_inputs([tmp_path / "bad.jsonl"])
    with pytest.raises(ValueError, match="no numbers of the SDE sampler; compare with --sampler"):
        task_of(tmp_path, line("a", [0.0, 1.0]), sampler="sde")
    folder = fake_run(rounds=2)
    (folder / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="has no evaluation to compare"):
        read_inputs([folder])


# Grouping


def test_seeds_of_one_setting_are_replicates_and_other_settings_are_not(tmp_path: Path) -> None:
    """The seed, the prompts measured on and the folder do not make another method."""
    own = {"objective": {"anchor": 0.1}, "seed": 0, "evaluation": {"every": 5}, "folder": "a"}
    other = {"objective": {"anchor": 0.1}, "seed": 1, "evaluation": {"every": 7}, "folder": "b"}
    third = {"objective": {"anchor": 0.0}, "seed": 1}
    task = task_of(
        tmp_path,
        line("a", [0.0, 1.0], 0, settings=own),
        line("a", [0.0, 1.0], 1, settings=other),
        line("a", [0.0, 0.5], 0, settings=third),
    )
    assert [(m.name, len(m.curves)) for m in task.methods] == [
        ("a, anchor 0.1", 2),
        ("a, anchor 0.0", 1),
    ]
    assert tables.settings(task) == [
        ("a, anchor 0.1", [("objective.anchor", "0.1")]),
        ("a, anchor 0.0", [("objective.anchor", "0.0")]),
    ]


def test_methods_that_differ_in_much_are_told_apart_by_their_folders(fake_run: FakeRun) -> None:
    changed = {"settings": {"a": 1, "b": 2, "c": 3}}
    folders = [fake_run("plain-0", rounds=2), fake_run("naive-0", rounds=2, about=changed)]
    (task,) = tasks(read_inputs(folders))
    assert {m.name for m in task.methods} == {"vgrpo (plain)", "vgrpo (naive)"}


def test_each_task_is_compared_by_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", line("a", [0.0, 1.0]), line("a", [0.0, 9.0], task="other"))
    assert [(t.name, t.best_end("reward")) for t in tasks(read_inputs([path]))] == [
        ("toy", 1.0),
        ("other", 9.0),
    ]


# Numbers


def test_methods_are_compared_at_the_evaluations_that_all_have_made(tmp_path: Path) -> None:
    """The short run ends at 200; the long one is read there, by interpolation, at 0.3."""
    task = task_of(
        tmp_path,
        line("long", [0.0, 0.2, 0.4, 0.9], step=133),
        line("short", [0.0, 0.1, 0.35], diversity=[2.0, 1.8, 1.5]),
        line("guided", [0.25], diversity=[1.2]),
    )
    assert task.budget == 200
    equal = tables.numbers(task, task.budget, paints("long", "short", "guided"))
    assert [r.name for r in equal.rows] == ["short", "long", "guided"]
    assert row(equal, "long")["Reward"].text == "0.301"
    assert row(equal, "short")["Reward"] == tables.Cell("0.350", (), best=True)
    assert row(equal, "short")["Diversity"].text == "0.750"
    assert row(equal, "guided")["Reward"].text == "0.250"
    assert row(equal, "guided")["Diversity"].text == "0.600"  # over the start of the trained, 2
    ends = tables.numbers(task, None, paints("long", "short", "guided"))
    assert row(ends, "long")["Reward"] == tables.Cell("0.900", (), best=True)
    assert row(ends, "long")["Evaluations"].text == "399"
    assert row(ends, "short")["Seconds"].text == "20"
    assert [tables.seconds(v) for v in (0.44, 1234.5)] == ["0.4", "1,234"]
    assert [tables.small(v) for v in (0.1, 0.01234, 123.4, 0.0)] == ["0.100", "0.0123", "123", "0"]


def test_a_table_has_means_with_intervals_and_drift_with_three_digits(tmp_path: Path) -> None:
    task = task_of(
        tmp_path,
        line("a", [0.0, 0.2], 0, drift=[0.0, 0.00123], diversity=[2.0, 1.0]),
        line("a", [0.0, 0.4], 1, drift=[0.0, 0.00125], diversity=[4.0, 3.0]),
    )
    cells = row(tables.numbers(task, task.budget, paints("a")), "a")
    assert cells["Seeds"].text == "2"
    assert cells["Reward"] == tables.Cell("0.300", ("[0.200, 0.400]",))
    assert cells["Drift"] == tables.Cell("0.00124", ("[0.00123, 0.00125]",))
    assert cells["Diversity"] == tables.Cell("0.625", ("[0.500, 0.750]",))
    assert cells["Seconds"] == tables.Cell("10")


def test_a_measure_that_some_seeds_lack_says_how_many_have_it(tmp_path: Path) -> None:
    task = task_of(tmp_path, line("a", [0.0, 0.2], 0), line("a", [0.0, 0.4], 1, judge=[None, None]))
    cells = row(tables.numbers(task, task.budget, paints("a")), "a")
    assert cells["Judge"] == tables.Cell("0.200", ("1 of 2 seeds",))


def test_levels_are_shares_of_the_way_from_the_start_to_the_best_end(tmp_path: Path) -> None:
    task = task_of(tmp_path, line("a", [0.5, 0.7]), line("b", [0.5, 0.9]), line("g", [1.5]))
    found = task.levels("reward", [0.77])
    assert [name for name, _ in found] == [
        *(f"{s} % of the way" for s in (25, 50, 75, 90)),
        "asked for",
    ]
    assert [level for _, level in found] == pytest.approx([0.6, 0.7, 0.8, 0.86, 0.77])
    worse = task_of(tmp_path, line("a", [0.5, 0.4]))
    assert worse.levels("reward") == []


def test_the_ratio_of_a_slower_method_is_above_one(tmp_path: Path) -> None:
    """Means 75 and 150; the interval runs from 100/100 to 200/50."""
    task = task_of(tmp_path, *FAST, *SLOW, *LOST)
    reached = {m.name: reach(m, "reward", 0.5) for m in task.methods}
    assert reached["slow"].evaluations == [200.0, 100.0]
    assert reached["lost"].evaluations == pytest.approx([500 / 6])
    assert reference(reached, None) == "fast"
    found = ratios(reached, "fast")
    assert list(found) == ["slow"]
    assert (found["slow"].mean, found["slow"].interval) == (2.0, (1.0, 4.0))
    against = ratios(reached, reference(reached, "slow"))
    assert (against["fast"].mean, against["fast"].interval) == (0.5, (0.25, 1.0))


def test_a_level_that_some_seeds_never_reach_has_a_count_and_no_ratio(tmp_path: Path) -> None:
    task = task_of(tmp_path, *FAST, *SLOW, *LOST)
    reward, judge = tables.levels(task, [0.5], None, paints("fast", "slow", "lost"))
    assert judge.caption == "Network evaluations to reach a judge"
    assert [c.text for c in reward.head[1:]] == [
        f"Reward {v:.3f}" for v in (0.25, 0.5, 0.75, 0.9, 0.5)
    ]
    last = {r.name: r.cells[-1] for r in reward.rows}
    assert last["fast"] == tables.Cell("75", ("[50, 100]", "1 ×"), best=True)
    assert last["slow"] == tables.Cell("150", ("[100, 200]", "2.00 × [1.00, 4.00]"))
    assert last["lost"] == tables.Cell("1 of 2 seeds")


def test_nothing_is_relative_to_a_method_that_did_not_arrive(tmp_path: Path) -> None:
    task = task_of(tmp_path, *FAST, *SLOW, *LOST)
    reached = {m.name: reach(m, "reward", 0.5) for m in task.methods}
    assert reference(reached, "lost") is None
    assert ratios(reached, None) == {}
    reward, _ = tables.levels(task, [0.5], "lost", paints("fast", "slow", "lost"))
    assert {r.name: r.cells[-1].under for r in reward.rows}["slow"] == ("[100, 200]",)


def test_a_level_below_the_start_has_no_ratio(tmp_path: Path) -> None:
    task = task_of(tmp_path, line("a", [0.5, 0.9]), line("b", [0.4, 0.8]))
    reward, _ = tables.levels(task, [0.45], None, paints("a", "b"))
    last = {r.name: r.cells[-1] for r in reward.rows}
    assert last["a"] == tables.Cell("0", ("from the start",))
    assert last["b"] == tables.Cell("12", ("1 ×",), best=True)


def test_at_equal_drift_each_seed_is_read_where_it_first_came_so_far(tmp_path: Path) -> None:
    """Both end at a drift of at least 0.02, which b passes half way, at a judge of 0.4."""
    task = task_of(
        tmp_path,
        line("a", [0.0, 0.5, 1.0], drift=[0.0, 0.01, 0.02]),
        line("b", [0.0, 0.8, 0.9], drift=[None, 0.04, 0.05], evaluations=[0, 100, 200]),
        line("c", [0.0, 0.4, 0.8], drift=[0.0, 0.04, 0.06]),
        line("d", [0.0, 0.4, 0.8], drift=[None, None, None]),
    )
    assert equal_drift(task) == 0.02
    by_name = {m.name: m for m in task.methods}
    found = [at_drift(by_name[n], "judge", 0.02) for n in "abc"]
    assert [f.mean for f in found if f is not None] == pytest.approx([1.0, 0.8, 0.2])
    table = tables.drifts(task, paints("a", "b", "c", "d"))
    assert [r.name for r in table.rows] == ["a", "b", "c"] if table else False
    assert row(table, "c")["Judge"].text == "0.200"


def test_a_mean_curve_is_drawn_where_all_seeds_have_been(tmp_path: Path) -> None:
    task = task_of(tmp_path, line("a", [0.0, 1.0, 2.0], 0), line("a", [0.0, 3.0], 1))
    found = task.methods[0].band("reward")
    assert found is not None
    grid, mean, ends = found
    assert (grid[0], grid[-1], mean[-1]) == (0.0, 100.0, 2.0)
    assert ends is not None
    assert (ends[0][-1], ends[1][-1]) == (1.0, 3.0)


# Sentences


def test_the_headline_is_as_firm_as_the_intervals(tmp_path: Path) -> None:
    def said(*seconds: float) -> str:
        lines = [line("a", [0.0, v], s) for s, v in enumerate((0.8, 0.9))]
        return sentences.headline(
            task_of(tmp_path, *lines, *(line("b", [0.0, v], s) for s, v in enumerate(seconds)))
        )

    assert said(0.5, 0.6) == "a has the highest judge, with an interval apart from all others."
    assert said(0.75, 0.85) == "a has the highest judge; not told apart from b."
    assert said(0.5) == "a has the highest judge; single seeds cannot tell by how much."


def test_a_single_seed_does_not_hide_that_others_are_not_told_apart(tmp_path: Path) -> None:
    several = [
        line(n, [0.0, v + d], s)
        for n, d in (("a", 0.1), ("b", 0.0))
        for s, v in enumerate((0.6, 0.8))
    ]
    task = task_of(tmp_path, *several, line("c", [0.0, 0.1]))
    assert sentences.headline(task) == "a has the highest judge; not told apart from b."


def test_the_judge_decides_and_not_the_reward(tmp_path: Path) -> None:
    task = task_of(
        tmp_path,
        line("hacked", [0.0, 1.0], judge=[0.5, 0.2]),
        line("honest", [0.0, 0.5], judge=[0.5, 0.7]),
    )
    assert task.methods[0].name == "honest"
    assert sentences.headline(task).startswith("honest has the highest judge")
    assert sentences.found(task)[1] == (
        "the highest judge is that of honest, 0.700, 0.500 before training; the highest reward is "
        "that of hacked, 1.000, 0.000 before training."
    )


def test_what_was_had_without_training_is_said(tmp_path: Path) -> None:
    task = task_of(tmp_path, line("a", [0.0, 0.5]), line("b", [0.0, 0.4]), line("guided", [0.7]))
    assert sentences.headline(task).startswith("a has the highest judge")
    assert sentences.found(task)[-1] == "Without training, guided has a judge of 0.700."


def test_different_starts_are_said(tmp_path: Path) -> None:
    apart = task_of(tmp_path, line("a", [0.5, 0.9]), line("b", [0.52, 0.9]))
    assert sentences.warnings(apart)[0].startswith(
        "The runs do not start alike (reward by up to 0.020, judge by up to 0.020"
    )
    same = task_of(tmp_path, line("a", [0.5, 0.9]), line("b", [0.501, 0.9]), line("g", [0.7]))
    assert not any("start alike" in w for w in sentences.warnings(same))


@pytest.mark.parametrize(("step", "said"), [(105, False), (106, True)])
def test_budgets_more_than_five_percent_apart_are_said(
    tmp_path: Path, step: int, said: bool
) -> None:
    task = task_of(tmp_path, line("a", [0.0, 1.0]), line("b", [0.0, 1.0], step=step))
    found = [w for w in sentences.warnings(task) if w.startswith("Budgets differ")]
    assert bool(found) is said
    assert not said or "a ends after 100 network evaluations, b after 106" in found[0]


def test_few_seeds_and_unfinished_runs_are_said(fake_run: FakeRun, tmp_path: Path) -> None:
    task = task_of(tmp_path, line("a", [0.0, 1.0]), *(line("b", [0.0, 1.0], s) for s in (0, 1)))
    assert sentences.warnings(task) == [
        "One seed only, so no interval: a.",
        "Fewer than five seeds, so intervals are too narrow: b.",
    ]
    (stopped,) = tasks(read_inputs([fake_run(rounds=2, about={"status": "stopped"})]))
    assert any(w.endswith("(stopped).") for w in sentences.warnings(stopped))
