"""The published losses on pairs of completions, each a setting of `PreferenceLoss`.

β has no default where papers tune it per model. Numbers that are given come from the authors'
settings for Llama-3-8B-Instruct unless a comment says otherwise.
"""

from typing import Literal

from scoreward.losses.language import (
    Constant,
    Dispersion,
    LengthGap,
    PreferenceLoss,
    ScoreGap,
    WinnerDrop,
)
from scoreward.losses.links import Hinge, Link, Logistic, Robust, SmoothedLogistic, Square
from scoreward.losses.shapes import LogOdds, Power, Shape

RAINBOW_NORM = 0.29  # of the authors' data and model; estimate yours with dispersion_norm


def dpo(beta: float) -> PreferenceLoss:
    """−log σ(βΔ), Δ the difference of summed log-ratios; β about 0.01 to 0.1.  [dpo] (loss)"""
    return PreferenceLoss(beta=beta)


def conservative_dpo(beta: float, flip: float) -> PreferenceLoss:
    """DPO that expects a share `flip` of wrong labels.  [cdpo] (loss)"""
    return PreferenceLoss(SmoothedLogistic(flip), beta)


def robust_dpo(beta: float, flip: float) -> PreferenceLoss:
    """DPO that is unbiased under a share `flip` of wrong labels.  [robust-dpo] (loss)"""
    return PreferenceLoss(Robust(flip), beta)


def ln_dpo(beta: float) -> PreferenceLoss:
    """DPO on means per token; β about 2 to 10.  [rainbow-po] (LN-DPO)"""
    return PreferenceLoss(beta=beta, length_exponent=1)


def ipo(tau: float) -> PreferenceLoss:
    """(Δ − 1/(2τ))², as in the paper.  [ipo] (loss)"""
    return PreferenceLoss(Square(1 / (2 * tau)))


def ipo_rescaled(beta: float) -> PreferenceLoss:
    """(βΔ − ½)², which is τ² times the paper's at β = τ.  [rainbow-po] (links tried)"""
    return PreferenceLoss(Square(), beta)


def ipo_per_token(tau: float) -> PreferenceLoss:
    """The paper's square on means per token, as a widely used library has it.  [ipo] (per token)"""
    return PreferenceLoss(Square(1 / (2 * tau)), length_exponent=1)


def slic(width: float, sft: float) -> PreferenceLoss:
    """max(0, δ − log π_w + log π_l) − λ log π(target).  [slic] (loss)

    Without `logp_target` in the pairs the winner is the target.
    """
    return PreferenceLoss(Hinge(width), reference_exponent=0, sft=sft, sft_length_exponent=0)


def hinge_dpo(beta: float) -> PreferenceLoss:
    """max(0, 1 − βΔ), SLiC normalised by a reference.  [rso] (hinge)"""
    return PreferenceLoss(Hinge(), beta)


def rso(beta: float, link: Link) -> PreferenceLoss:
    """Logistic or hinge on βΔ; the data come from `rejection.accept`.  [rso] (loss)"""
    return PreferenceLoss(link, beta)


def cpo(beta: float, sft: float, per_token: bool) -> PreferenceLoss:
    """DPO without reference, with the winner's likelihood beside it.  [cpo] (loss)

    The likelihood is summed, or with `per_token` its mean, as a widely used library has it.
    """
    return PreferenceLoss(
        beta=beta, reference_exponent=0, sft=sft, sft_length_exponent=1.0 if per_token else 0.0
    )


def simpo(beta: float = 10.0, gamma: float = 3.0) -> PreferenceLoss:
    """−log σ(β(mean log π_w − mean log π_l) − γ).  [simpo] (loss)"""
    return alpha_po(0.0, beta, gamma)


def alpha_po(a: float, beta: float, gamma: float) -> PreferenceLoss:
    """SimPO with the reward (1 − p^(−a))/a in place of log p.  [alpha-po] (loss)"""
    return PreferenceLoss(
        beta=beta,
        length_exponent=1,
        reference_exponent=0,
        offset=Constant(gamma / beta),
        shape=Power(a),
    )


def orpo(weight: float) -> PreferenceLoss:
    """−mean log π_w − λ log σ(log-odds of winner over loser).  [orpo] (loss)"""
    return PreferenceLoss(
        length_exponent=1, reference_exponent=0, shape=LogOdds(), weight=weight, sft=1.0
    )


def r_dpo(beta: float, a: float, sign: Literal[1, -1] = 1) -> PreferenceLoss:
    """−log σ(βΔ + a(|y_w| − |y_l|)).  [r-dpo] (loss)

    The plus sign follows from a reward penalised by length (our derivation); a survey prints
    minus, which `sign` offers.
    """
    return PreferenceLoss(beta=beta, offset=LengthGap(sign * a / beta))


def odpo(beta: float, a: float = 1.0, growth: Literal["log", "identity"] = "log") -> PreferenceLoss:
    """−log σ(βΔ − a g(score_w − score_l)).  [odpo] (loss)"""
    return PreferenceLoss(beta=beta, offset=ScoreGap(a / beta, growth))


def mallows_dpo(beta: float, norm: float = RAINBOW_NORM) -> PreferenceLoss:
    """−log σ(φβΔ) with φ from the reference's entropy.  [mallows-po] (DPO)"""
    return PreferenceLoss(beta=beta, scale=Dispersion(norm))


def mallows_ipo(tau: float, norm: float = RAINBOW_NORM) -> PreferenceLoss:
    """(φΔ − 1/(2τ))², as in the authors' code.  [mallows-po] (IPO)"""
    return PreferenceLoss(Square(1 / (2 * tau)), scale=Dispersion(norm))


def mallows_ipo_rescaled(beta: float, norm: float = RAINBOW_NORM) -> PreferenceLoss:
    """(φβΔ − ½)², as in the code of the later paper.  [rainbow-po] (links tried)"""
    return PreferenceLoss(Square(), beta, scale=Dispersion(norm))


def wpo(beta: float) -> PreferenceLoss:
    """DPO times how likely both completions are under the policy.  [wpo] (loss)"""
    return PreferenceLoss(beta=beta, weighted=True)


def dpop(beta: float, penalty: float) -> PreferenceLoss:
    """DPO whose logit falls when the winner's likelihood does.  [dpop] (loss)"""
    return PreferenceLoss(beta=beta, offset=WinnerDrop(penalty))


def f_dpo(beta: float, shape: Shape) -> PreferenceLoss:
    """DPO for another divergence from the reference: log π/π_ref becomes f'.  [f-dpo] (loss)"""
    return PreferenceLoss(beta=beta, shape=shape)


def rainbow_po(
    beta: float = 10.0,
    alpha: float = 0.25,
    gamma: float = 0.1,
    norm: float | None = RAINBOW_NORM,
    link: Link | None = None,
    sft: float = 0.0,
    length_exponent: float = 1.0,
) -> PreferenceLoss:
    """Means per token, a mixed reference and contextual scaling.  [rainbow-po] (loss)

    `norm` None switches the scaling off.
    """
    return PreferenceLoss(
        link=Logistic() if link is None else link,
        beta=beta,
        length_exponent=length_exponent,
        reference_exponent=alpha,
        offset=Constant(gamma),
        mixing=True,
        scale=None if norm is None else Dispersion(norm),
        sft=sft,
        sft_length_exponent=length_exponent,
    )
