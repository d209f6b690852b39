"""The switches of forward-process methods: who shares pairs, which times, which anchors."""

from abc import abstractmethod
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from scoreward.core.denoiser import Denoiser
from scoreward.core.keys import Key
from scoreward.core.likelihood import Times, draw_pairs, predict_as, squared_error
from scoreward.core.policy import DiffusionPolicy
from scoreward.objectives.base import Needs, Objective, Samples
from scoreward.objectives.samples.answers import Answers, PairRows, Share


@dataclass(frozen=True)
class PairObjective(Objective[Samples, PairRows, DiffusionPolicy]):
    """The switches that forward-process methods share; a method writes `matching`."""

    pairs: int = 4  # (t, ε) pairs per sample; 0 with times="grid" takes the whole grid
    share: Share = "group"  # who sees the same pairs
    times: Times = "stratified"  # rule that draws t, see likelihood.draw_times
    fraction: float = (
        0.99  # share of the grid for "grid" and the discrete rules: all but one of ten
    )
    anchor: float = 0.0  # weight of mean (v − v_reference)²
    anchor_guidance: float = 1.0  # the anchor is the reference with guidance of this scale, [crd]
    slow_anchor: float = 0.0  # weight of mean (v − v_slow)², the slow average of the policy
    norm_guard: float = 0.0  # weight of relu(rms(v)/rms(v_reference) − 1)², [norm-guard]

    def __post_init__(self) -> None:
        if self.pairs < 1 and self.times != "grid":
            raise ValueError(f"`pairs` must be at least 1, got {self.pairs}")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"`fraction` is a share of the grid in (0, 1], got {self.fraction}")
        if min(self.anchor, self.slow_anchor, self.norm_guard) < 0:
            raise ValueError(
                "`anchor`, `slow_anchor` and `norm_guard` are weights and must not be negative"
            )

    @property
    def needs(self) -> Needs:
        return Needs(answers=True)

    @property
    def compares(self) -> bool:
        """Whether the loss looks at the old policy; if not, nobody asks it."""
        return True

    @property
    def refers(self) -> bool:
        """Whether the loss looks at the reference."""
        return bool(self.anchor or self.norm_guard)

    @property
    def averages(self) -> bool:
        """Whether the loss looks at the slow average of the policy."""
        return bool(self.slow_anchor)

    def held(self, rows: PairRows) -> Tensor | None:
        """How much of the anchor each sample feels; None for all of it."""
        return None

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> PairRows:
        numbers = zip(samples.group.tolist(), samples.sample.tolist(), strict=True)
        keys = [self._address(key, group, sample) for group, sample in numbers]
        together = self.share in ("times", "group_noise")
        when = [key / "pairs"] * len(keys) if together else keys
        rule = (self.times, when, self.fraction)
        pairs = draw_pairs(samples.x0, keys, self.pairs, policy.times, policy.process, *rule)

        dtype = samples.x0.dtype
        return PairRows(
            x0=samples.x0,
            cond=samples.cond,
            advantage=samples.advantage.to(dtype),
            reward=samples.reward.to(dtype),
            group=samples.group,
            pairs=pairs,
            old=None,
            reference=None,
            slow=None,
            sample=samples.sample,
        )

    def answered(self, rows: PairRows, policy: DiffusionPolicy) -> PairRows:

        def ask(wanted: bool, denoiser: Denoiser | None) -> Tensor | None:
            if not wanted or denoiser is None:
                return None
            return predict_as(denoiser, rows.pairs, rows.cond, "velocity")

        return replace(
            rows,
            old=ask(self.compares and not policy.on_policy, policy.old),
            reference=ask(self.refers, policy.anchor(self.anchor_guidance)),
            slow=ask(self.averages, policy.slow),
        )

    def loss(self, rows: PairRows, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        new = predict_as(policy.current, rows.pairs, rows.cond, "velocity")
        old = new.detach() if rows.old is None else rows.old
        loss, metrics = self.matching(Answers(rows, policy.process, new, old))
        if rows.reference is not None:
            drift = squared_error(new, rows.reference)  # [diffusion-nft] (KL term)
            name = "drift/velocity" if self.anchor_guidance == 1.0 else "drift/guided"
            metrics[name] = drift.detach().mean()
            held = self.held(rows)
            felt = drift if held is None else held[:, None] * drift
            loss = loss + self.anchor * felt.mean()
        if rows.reference is not None and self.norm_guard:
            excess = growth(new, rows.reference).relu().square().mean()
            loss, metrics["norm/excess"] = loss + self.norm_guard * excess, excess.detach()
        if rows.slow is not None and self.slow_anchor:
            distance = squared_error(new, rows.slow).mean()  # [awm] (EMA anchor)
            loss, metrics["drift/slow"] = loss + self.slow_anchor * distance, distance.detach()
        return loss, metrics

    @abstractmethod
    def matching(self, answers: Answers) -> tuple[Tensor, dict[str, Tensor]]:
        """The method's own loss, mean over the rows, and its metrics."""

    def _address(self, key: Key, group: int, sample: int) -> Key:
        """Who shares noise: the whole batch, the samples of a prompt, or nobody."""
        match self.share:
            case "batch":
                return key / "pairs"
            case "group" | "group_noise":
                return key / "pairs" / group
            case "none" | "times":
                return key / "pairs" / group / sample


def climb(updates: int, rate: float, most: float, start: int = 0) -> float:
    """How slowly old follows: 0, a copy, before `start`, then rate (k − start), at most `most`."""
    return 0.0 if updates < start else min(rate * (updates - start), most)


def growth(new: Tensor, reference: Tensor) -> Float[Tensor, "batch count"]:
    """rms(v)/rms(v_reference) − 1: how much the velocity has grown.  [norm-guard] (hinge)"""
    sizes = [v.flatten(2).square().mean(2).sqrt() for v in (new, reference)]
    return sizes[0] / sizes[1].clamp(min=1e-8) - 1
