"""Pairs as a source: which, in what order, with which captions; and training on them."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scoreward.core.denoiser import Cond, Denoiser
from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.losses.diffusion import AutomaticBeta
from scoreward.objectives.base import Objective
from scoreward.objectives.pictures.diffusion_dpo import DiffusionDPO
from scoreward.objectives.pictures.diffusion_kto import DiffusionKTO
from scoreward.objectives.pictures.diffusion_orpo import DiffusionORPO
from scoreward.objectives.pictures.diffusion_rainbow_po import DiffusionRainbowPO
from scoreward.objectives.pictures.dmpo import DMPO
from scoreward.objectives.pictures.dspo import DSPO
from scoreward.objectives.pictures.flow_dpo import FlowDPO
from scoreward.objectives.pictures.inpo import InPO
from scoreward.objectives.pictures.mapo import MaPO
from scoreward.objectives.pictures.pnapo import PNAPO
from scoreward.objectives.pictures.rows import PreferenceRows, Preferred
from scoreward.objectives.pictures.smpo import SmPO
from scoreward.tasks.toy import CORNERS, toy_model
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.sources.online import Collected
from scoreward.training.sources.pairs import Curriculum, HeldOutPairs, PairData, Preferences
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from tests.support.matrix import mostly_long
from tests.training.preferring import pair_data, paired_run, paired_trainer, probed
from tests.training.toys import finish, records

KEY = Key(("source",))


class OneOf(Team):
    """One process of several that never meet."""

    def __init__(self, rank: int, size: int) -> None:
        self.at = 0, 1
        super().__init__()
        self.at = rank, size

    @property
    def rank(self) -> int:
        return self.at[0]

    @property
    def size(self) -> int:
        return self.at[1]


def collected(
    source: Preferences,
    round: int,
    rank: int = 0,
    size: int = 1,
    objective: Objective | None = None,
) -> Collected:
    trainer = Trainer(toy_model(), objective or DiffusionDPO(), source, Optimizer(), Team())
    work, _ = trainer.work(round)
    return source.collect(round, KEY, replace(work, team=OneOf(rank, size)))


def test_winner_and_loser_are_neighbours_with_one_prompt_and_opposite_signs() -> None:
    data = pair_data(12)
    source = Preferences(data, Geometry(prompts=5, group=2), dropout=0.0)
    samples = collected(source, 0).samples
    assert isinstance(samples, Preferred)
    chosen = source.numbers(0, KEY)
    assert samples.group.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert samples.sample.tolist() == list(range(10))
    assert samples.advantage.tolist() == [1.0, -1.0] * 5
    assert torch.equal(samples.x0[::2], data.winner[chosen])
    assert torch.equal(samples.x0[1::2], data.loser[chosen])
    corners = [list(CORNERS).index(data.prompts[i]) for i in chosen]
    assert samples.cond is not None
    assert samples.cond[torch.arange(10)].rows().tolist() == [c for c in corners for _ in "wl"]  # pyright: ignore
    assert samples.gap is not None
    assert samples.noise is not None
    assert data.gap is not None
    assert torch.equal(samples.gap[::2].float(), data.gap[chosen])
    torch.testing.assert_close(samples.reward[::2] - samples.reward[1::2], samples.gap[::2])
    torch.testing.assert_close(samples.noise, 2 * samples.x0)


def test_every_pair_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    source = Preferences(pair_data(12), Geometry(prompts=4, group=2))
    epochs = [[n for r in range(3 * e, 3 * e + 3) for n in source.numbers(r, KEY)] for e in (0, 1)]
    assert [sorted(e) for e in epochs] == [list(range(12))] * 2
    assert epochs[0] != epochs[1]
    assert source.numbers(1, KEY) == source.numbers(1, KEY)
    assert source.numbers(0, KEY) != source.numbers(0, Key(("other seed",)))


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("objective", [DiffusionDPO(), DiffusionKTO()], ids=["whole", "single"])
def test_processes_together_hold_the_round_and_never_split_a_pair(
    size: int, objective: Objective
) -> None:
    source = Preferences(pair_data(12), Geometry(prompts=5, group=2), dropout=0.5)
    whole = collected(source, 2, objective=objective).samples
    parts = [collected(source, 2, rank, size, objective).samples for rank in range(size)]
    assert [n for p in parts for n in p.sample.tolist()] == whole.sample.tolist()
    assert torch.equal(torch.cat([p.x0 for p in parts]), whole.x0)
    rows = [p.cond[torch.arange(len(p))].rows() for p in parts]  # pyright: ignore
    assert torch.equal(torch.cat(rows), whole.cond[torch.arange(10)].rows())  # pyright: ignore
    if objective.needs.whole_groups:
        assert all(len(p) % 2 == 0 for p in parts)


def nothing(cond: Cond) -> Cond:
    return torch.full_like(cond, -7)  # pyright: ignore


def test_a_dropped_caption_is_dropped_for_both_pictures() -> None:
    """One decision per pair, for a quarter of them: 4000 pairs, five standard deviations."""
    data = pair_data(400)
    source = Preferences(data, Geometry(prompts=400, group=2), dropout=0.25)
    model = replace(toy_model(), null=nothing)
    trainer = Trainer(model, DiffusionDPO(), source, Optimizer(), Team())
    lost = []
    for round in range(10):
        cond = source.collect(round, KEY, trainer.work(round)[0]).samples.cond
        said = cond[torch.arange(800)].rows() == -7  # pyright: ignore
        assert torch.equal(said[::2], said[1::2])
        lost.append(said[::2])
    assert abs(float(torch.cat(lost).double().mean()) - 0.25) < 5 * (0.25 * 0.75 / 4000) ** 0.5
    assert not torch.equal(lost[0], lost[1])


def test_a_curriculum_opens_large_gaps_first_and_one_chunk_is_everything() -> None:
    """[curriculum-dpo] (schedule): three chunks of four, one more every second update."""
    data = replace(pair_data(12), gap=torch.arange(12.0))
    plan = Curriculum(chunks=3, every=2, least=0.5)
    source = Preferences(data, Geometry(prompts=4, group=2), curriculum=plan)
    assert [sorted(source.open(r)) for r in (0, 1)] == [[8, 9, 10, 11]] * 2
    assert sorted(source.open(2)) == list(range(4, 12))
    assert sorted(source.open(4)) == sorted(source.open(99)) == list(range(1, 12))
    assert sorted(source.numbers(0, KEY)) == [8, 9, 10, 11]
    twice = replace(source, geometry=Geometry(prompts=4, group=2, minibatches=2))
    assert len(twice.open(1)) == 8  # updates count, not rounds
    single = replace(source, curriculum=Curriculum(chunks=1, least=0.0))
    plain = replace(source, curriculum=None)
    assert sorted(single.open(0)) == list(plain.open(0))
    assert collected(source, 0).metrics == {"pairs/open": 4.0}


METHODS: dict[str, Objective] = {
    "diffusion_dpo": DiffusionDPO(beta=10.0),
    "hinge": DiffusionDPO(beta=10.0, link="hinge"),
    "ipo_scaled": DiffusionDPO(beta=4.0, link="ipo_scaled"),
    "sdpo": DiffusionDPO(beta=10.0, safeguard=0.5),
    "flow_dpo": FlowDPO(beta=10.0),
    "flow_dpo_timed": FlowDPO(beta=20.0, timed=True),
    "kto": DiffusionKTO(beta=10.0),
    "mapo": MaPO(beta=1.0),
    "orpo": DiffusionORPO(beta=2.0),
    "dspo": DSPO(beta=0.01),
    "inpo": InPO(beta=10.0),
    "smpo": SmPO(beta=2.0, low=0.0, high=4.0),
    "dmpo": DMPO(beta=10.0),
    "pnapo": PNAPO(beta=10.0),
    "rainbow": DiffusionRainbowPO(beta=10.0, alpha=0.9, gamma=0.01, phi="gap", span=4.0),
}

FEW = ("diffusion_dpo", "kto", "mapo", "pnapo")


@pytest.mark.parametrize("name", mostly_long(METHODS, FEW))
def test_a_preferred_direction_moves_the_mean(name: str) -> None:
    """From √2 away, nearer by 0.08 at least (IPO holds back the most); swapped, further away."""
    data = pair_data(128)
    swapped = PairData(
        data.loser, data.winner, data.prompts, data.gap, data.loser_noise, data.winner_noise
    )
    corners, away = torch.tensor(list(CORNERS.values())), []
    for pairs in (data, swapped):
        trainer = paired_trainer(METHODS[name], pairs, Geometry(prompts=32, group=2), lr=0.05)
        for _ in range(20):
            metrics = trainer.step().metrics
        assert {"loss", "pairs/open"} <= metrics.keys()  # pyright: ignore
        away.append((trainer.weights.parameters["mean"].detach() - corners).norm(dim=1))
    assert away[0].max() < 1.33
    assert away[1].min() > 2**0.5


@pytest.mark.parametrize("name", mostly_long(METHODS, FEW))
def test_micro_batches_do_not_change_the_update(name: str) -> None:
    """Float64; a row is a pair, so micro-batches of 2 and of 64 make the same weights."""
    data = pair_data(16, dtype=torch.float64)
    ends = []
    for micro in (2, 64):
        geometry = Geometry(prompts=7, group=2, minibatches=2, micro_batch=micro, rollout_batch=5)
        trainer = paired_trainer(METHODS[name], data, geometry)
        for _ in range(3):
            trainer.step()
        ends.append(trainer.weights.parameters["mean"].detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-11, atol=1e-12)
    assert ends[0].abs().max() > 0.01


@pytest.mark.parametrize(("micro", "calls"), [(1, 6), (4, 2)])
def test_a_micro_batch_is_so_many_pairs(micro: int, calls: int) -> None:
    """Down to a single pair, for large models."""
    seen: list[int] = []

    @dataclass(frozen=True)
    class Counting(DiffusionDPO):
        def loss(
            self, rows: PreferenceRows, policy: DiffusionPolicy
        ) -> tuple[Tensor, dict[str, Tensor]]:
            seen.append(len(rows))
            return super().loss(rows, policy)

    geometry = Geometry(prompts=6, group=2, micro_batch=micro)
    paired_trainer(Counting(), pair_data(12), geometry).step()
    assert (len(seen), max(seen)) == (calls, micro)


@pytest.mark.parametrize("name", ["pnapo", "automatic"])
def test_a_run_that_was_interrupted_ends_as_one_that_was_not(name: str, tmp_path: Path) -> None:
    """Methods with a memory from round to round, to the last bit."""
    objective = (
        PNAPO(beta=10.0, total=6)
        if name == "pnapo"
        else DiffusionDPO(automatic=AutomaticBeta(high=5.0))
    )
    whole = paired_run(tmp_path / "whole", objective, rounds=6)
    finish(whole)
    broken = paired_run(tmp_path / "broken", objective, rounds=6)
    moments = broken.start()
    for _ in range(3):
        next(moments)
    moments.close()  # pyright: ignore
    again = paired_run(tmp_path / "broken", objective, rounds=6)
    for _ in again.resume():
        pass
    ends = [next(iter(r.model.network.parameters())) for r in (whole, again)]
    assert torch.equal(*ends)
    assert records(tmp_path / "whole", "round") == records(tmp_path / "broken", "round")


def test_held_out_accuracy_rises_and_the_evaluation_records_it(tmp_path: Path) -> None:
    run = probed(paired_run(tmp_path / "run", rounds=20))
    finish(run)
    before, *_, after = records(tmp_path / "run", "evaluation")
    assert before["probes"] == {
        "pairs/accuracy": 0.5, "pairs/winner_ratio": 1.0, "pairs/loser_ratio": 1.0,
    }  # fmt: skip
    assert after["probes"]["pairs/accuracy"] > 0.8
    assert after["probes"]["pairs/winner_ratio"] < after["probes"]["pairs/loser_ratio"]


def test_the_probe_is_the_share_of_pairs_whose_margin_is_negative() -> None:
    """A network that denoises towards (1, 0) prefers pictures further to the right."""
    data, model = pair_data(40, "probe"), toy_model()

    def towards(mean: float) -> Denoiser:
        other = toy_model()
        with torch.no_grad():
            other.network.mean += torch.tensor([mean, 0.0])  # pyright: ignore
        return other.denoiser

    said = HeldOutPairs(data, draws=16, batch=7)(towards(0.1), towards(0.0), model, Team())
    right = (data.winner[:, 0] > data.loser[:, 0]).double().mean()
    assert said["accuracy"] == pytest.approx(float(right), abs=0.1)
    same = HeldOutPairs(data, draws=2)(towards(0.1), towards(0.1), model, Team())
    assert same == {"accuracy": 0.5, "winner_ratio": 1.0, "loser_ratio": 1.0}


# Sentences


def some(pairs: int = 3, dims: int = 2) -> Tensor:
    return torch.zeros(pairs, dims)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PairData(some(0), some(0), []), "there are no pairs to learn from; ties do not"),
        (lambda: PairData(some(), some(2), ["a"] * 3), "got 3 winners, 2 losers and 3 prompts"),
        (lambda: PairData(some(), some(3, 4), ["a"] * 3), r"shape \(2,\) and losers \(4,\)"),
        (
            lambda: PairData(some() / 0, some(), ["a"] * 3),
            "`winner` of the pairs holds numbers that are not finite",
        ),
        (
            lambda: PairData(some(), some(), ["a"] * 3, None, some()),
            "noise of only one side of the pairs",
        ),
        (
            lambda: Preferences(pair_data(5), Geometry(prompts=8, group=2)),
            "a round of 8 pairs is more than the 5 that there are; lower `geometry.prompts`",
        ),
        (
            lambda: Preferences(pair_data(5), Geometry(prompts=2, group=3)),
            "`geometry.group` must be 2, got 3",
        ),
        (
            lambda: Preferences(pair_data(5), Geometry(prompts=2, group=2), 1.0),
            r"`dropout` is a share in \[0, 1\), got 1.0",
        ),
        (
            lambda: Preferences(
                replace(pair_data(5), gap=None),
                Geometry(prompts=2, group=2),
                curriculum=Curriculum(),
            ),
            "a curriculum goes by the gap of scores, and these pairs have none",
        ),
        (
            lambda: Preferences(
                pair_data(5), Geometry(prompts=2, group=2), curriculum=Curriculum(least=1e6)
            ),
            "no pair has a gap of at least 1000000.0; lower `least`",
        ),
        (lambda: Curriculum(chunks=0), "`chunks` and `every` must be at least 1"),
        (lambda: HeldOutPairs(pair_data(2), draws=0), "`draws` and `batch` must be at least 1"),
    ],
)
def test_data_and_settings_are_refused_in_a_sentence(make: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()  # pyright: ignore


def test_too_few_pairs_for_the_processes_are_refused() -> None:
    source = Preferences(pair_data(5), Geometry(prompts=2, group=2))
    with pytest.raises(ValueError, match="2 prompts x 2 samples is too small for 3 processes"):
        Trainer(toy_model(), DiffusionDPO(), source, Optimizer(), OneOf(0, 3))
