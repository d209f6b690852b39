"""The published losses on pairs of completions that are settings of `PreferenceLoss`.

A class each, with its own settings and their defaults. Defaults that come from authors are named
in docs/preferences_lm.md, those of SimPO for Llama-3-8B-Instruct; the others are ours.
"""

from dataclasses import dataclass
from typing import Literal

from scoreward.losses.language import (
    Constant,
    Dispersion,
    LengthGap,
    PreferenceLoss,
    ScoreGap,
    WinnerDrop,
)
from scoreward.losses.links import LINKS, Hinge, LinkName, Robust, SmoothedLogistic, Square
from scoreward.losses.pairs import TextLoss
from scoreward.losses.shapes import AlphaDivergence, ForwardKL, JensenShannon, LogOdds, Power

RAINBOW_NORM = 0.29  # of the authors' data and model; estimate yours with dispersion_norm
Norm = float | Literal["data", "off"]


def dispersion(norm: Norm, name: str) -> Dispersion:
    """φ; "data" is replaced once the pairs' entropies are known."""
    if norm == "off":
        raise ValueError(f"{name} without φ is the method it scales; take that one")
    return Dispersion(RAINBOW_NORM if norm == "data" else float(norm))


@dataclass(frozen=True)
class DPO(TextLoss):
    """−log σ(βΔ), Δ the difference of summed log-ratios; β about 0.01 to 0.1.  [dpo] (loss)"""

    beta: float = 0.1  # inverse temperature, 1/nats

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(beta=self.beta)


@dataclass(frozen=True)
class ConservativeDPO(TextLoss):
    """DPO that expects a share `flip` of wrong labels.  [cdpo] (loss)"""

    beta: float = 0.1  # inverse temperature, 1/nats
    flip: float = 0.1  # share of wrong labels

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(SmoothedLogistic(self.flip), self.beta)


@dataclass(frozen=True)
class RobustDPO(TextLoss):
    """DPO that is unbiased under a share `flip` of wrong labels.  [robust-dpo] (loss)"""

    beta: float = 0.1  # inverse temperature, 1/nats
    flip: float = 0.1  # share of wrong labels

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(Robust(self.flip), self.beta)


@dataclass(frozen=True)
class LNDPO(TextLoss):
    """DPO on means per token; β about 2 to 10.  [rainbow-po] (LN-DPO)"""

    beta: float = 10.0  # inverse temperature, 1/nats per token

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(beta=self.beta, length_exponent=1)


@dataclass(frozen=True)
class IPO(TextLoss):
    """(Δ − 1/(2τ))², as in the paper.  [ipo] (loss)"""

    tau: float = 0.1  # regularisation

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(Square(1 / (2 * self.tau)))


@dataclass(frozen=True)
class IPOPerToken(TextLoss):
    """The paper's square on means per token, as a widely used library has it.  [ipo] (per token)"""

    tau: float = 0.1  # regularisation

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(Square(1 / (2 * self.tau)), length_exponent=1)


@dataclass(frozen=True)
class IPORescaled(TextLoss):
    """(βΔ − ½)², which is τ² times the paper's at β = τ.  [rainbow-po] (links tried)"""

    beta: float = 0.1  # inverse temperature, 1/nats

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(Square(), self.beta)


@dataclass(frozen=True)
class SLiC(TextLoss):
    """max(0, δ − log π_w + log π_l) − λ log π(target).  [slic] (loss)

    Without `logp_target` in the pairs the winner is the target.
    """

    width: float = 1.0  # δ of the hinge, nats
    sft: float = 0.1  # λ, weight of the target's likelihood

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(
            Hinge(self.width), reference_exponent=0, sft=self.sft, sft_length_exponent=0
        )


@dataclass(frozen=True)
class HingeDPO(TextLoss):
    """max(0, 1 − βΔ), SLiC normalised by a reference.  [rso] (hinge)"""

    beta: float = 0.1  # inverse temperature, 1/nats

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(Hinge(), self.beta)


@dataclass(frozen=True)
class RSO(TextLoss):
    """Logistic or hinge on βΔ; the data come from `rejection.accept`.  [rso] (loss)"""

    beta: float = 0.1  # inverse temperature, 1/nats
    link: LinkName = "logistic"

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(LINKS[self.link](), self.beta)


@dataclass(frozen=True)
class CPO(TextLoss):
    """DPO without reference, with the winner's likelihood beside it.  [cpo] (loss)

    The likelihood is summed, or with `per_token` its mean, as a widely used library has it.
    """

    beta: float = 0.1  # inverse temperature, 1/nats
    sft: float = 1.0  # weight of the winner's likelihood
    per_token: bool = True  # whether that likelihood is a mean

    def loss(self) -> PreferenceLoss:
        exponent = 1.0 if self.per_token else 0.0
        return PreferenceLoss(
            beta=self.beta, reference_exponent=0, sft=self.sft, sft_length_exponent=exponent
        )


@dataclass(frozen=True)
class SimPO(TextLoss):
    """−log σ(β(mean log π_w − mean log π_l) − γ).  [simpo] (loss)"""

    beta: float = 10.0  # inverse temperature, 1/nats per token
    gamma: float = 3.0  # by how much the winner has to be ahead, outside β

    def loss(self) -> PreferenceLoss:
        return AlphaPO(0.0, self.beta, self.gamma).loss()


@dataclass(frozen=True)
class AlphaPO(TextLoss):
    """SimPO with the reward (1 − p^(−a))/a in place of log p.  [alpha-po] (loss)"""

    a: float = 0.25  # of the shape; 0 is SimPO
    beta: float = 2.5  # inverse temperature, 1/nats per token
    gamma: float = 1.375  # by how much the winner has to be ahead, outside β

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(
            beta=self.beta,
            length_exponent=1,
            reference_exponent=0,
            offset=Constant(self.gamma / self.beta),
            shape=Power(self.a),
        )


@dataclass(frozen=True)
class ORPO(TextLoss):
    """−mean log π_w − λ log σ(log-odds of winner over loser).  [orpo] (loss)"""

    weight: float = 0.1  # λ, of the odds

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(
            length_exponent=1, reference_exponent=0, shape=LogOdds(), weight=self.weight, sft=1.0
        )


@dataclass(frozen=True)
class RDPO(TextLoss):
    """−log σ(βΔ + a(|y_w| − |y_l|)).  [r-dpo] (loss)

    The plus sign follows from a reward penalised by length (our derivation); a survey prints
    minus, which `sign` offers.
    """

    beta: float = 0.1  # inverse temperature, 1/nats
    a: float = 0.02  # per token
    sign: Literal[1, -1] = 1  # derived by us; a survey prints -1

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(beta=self.beta, offset=LengthGap(self.sign * self.a / self.beta))


@dataclass(frozen=True)
class ODPO(TextLoss):
    """−log σ(βΔ − a g(score_w − score_l)).  [odpo] (loss)"""

    beta: float = 0.1  # inverse temperature, 1/nats
    a: float = 1.0  # of the gap of scores
    growth: Literal["log", "identity"] = "log"  # g

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(beta=self.beta, offset=ScoreGap(self.a / self.beta, self.growth))


@dataclass(frozen=True)
class MallowsDPO(TextLoss):
    """−log σ(φβΔ) with φ from the reference's entropy.  [mallows-po] (DPO)"""

    beta: float = 0.1  # inverse temperature, 1/nats
    norm: Norm = "data"  # of φ, estimated from the pairs

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(beta=self.beta, scale=dispersion(self.norm, "mallows_dpo"))


@dataclass(frozen=True)
class MallowsIPO(TextLoss):
    """(φΔ − 1/(2τ))², as in the authors' code.  [mallows-po] (IPO)"""

    tau: float = 0.1  # IPO's regularisation
    norm: Norm = "data"  # of φ, estimated from the pairs

    def loss(self) -> PreferenceLoss:
        scale = dispersion(self.norm, "mallows_ipo")
        return PreferenceLoss(Square(1 / (2 * self.tau)), scale=scale)


@dataclass(frozen=True)
class MallowsIPORescaled(TextLoss):
    """(φβΔ − ½)², as in the code of the later paper.  [rainbow-po] (links tried)"""

    beta: float = 0.1  # inverse temperature, 1/nats
    norm: Norm = "data"  # of φ, estimated from the pairs

    def loss(self) -> PreferenceLoss:
        scale = dispersion(self.norm, "mallows_ipo_rescaled")
        return PreferenceLoss(Square(), self.beta, scale=scale)


@dataclass(frozen=True)
class WPO(TextLoss):
    """DPO times how likely both completions are under the policy.  [wpo] (loss)"""

    beta: float = 0.1  # inverse temperature, 1/nats

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(beta=self.beta, weighted=True)


@dataclass(frozen=True)
class DPOP(TextLoss):
    """DPO whose logit falls when the winner's likelihood does.  [dpop] (loss)"""

    beta: float = 0.1  # inverse temperature, 1/nats
    penalty: float = 5.0  # λ

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(beta=self.beta, offset=WinnerDrop(self.penalty))


@dataclass(frozen=True)
class FDPO(TextLoss):
    """DPO for another divergence from the reference: log π/π_ref becomes f'.  [f-dpo] (loss)"""

    beta: float = 0.1  # inverse temperature, 1/nats
    divergence: Literal["js", "forward_kl", "alpha"] = "js"
    a: float = 0.5  # of the divergence "alpha"

    def loss(self) -> PreferenceLoss:
        js, forward, alpha = JensenShannon(), ForwardKL(), AlphaDivergence(self.a)
        shape = {"js": js, "forward_kl": forward, "alpha": alpha}[self.divergence]
        return PreferenceLoss(beta=self.beta, shape=shape)


@dataclass(frozen=True)
class RainbowPO(TextLoss):
    """Means per token, a mixed reference and contextual scaling.  [rainbow-po] (loss)

    `norm` "off" switches the scaling off.
    """

    beta: float = 10.0  # inverse temperature, 1/nats per token
    alpha: float = 0.25  # exponent of the reference; 1 is no mixing
    gamma: float = 0.1  # by how much the winner has to be ahead, inside β
    norm: Norm = "data"  # of φ: estimated from the pairs, or no φ
    link: LinkName = "logistic"
    sft: float = 0.0  # weight of the winner's likelihood
    length_exponent: float = 1.0  # 1 compares means per token, 0 sums

    def loss(self) -> PreferenceLoss:
        return PreferenceLoss(
            link=LINKS[self.link](),
            beta=self.beta,
            length_exponent=self.length_exponent,
            reference_exponent=self.alpha,
            offset=Constant(self.gamma),
            mixing=True,
            scale=None if self.norm == "off" else dispersion(self.norm, "rainbow_po"),
            sft=self.sft,
            sft_length_exponent=self.length_exponent,
        )


Scaled = MallowsDPO | MallowsIPO | MallowsIPORescaled | RainbowPO
"""Those with φ, whose norm may be that of the data."""
