"""What users, the miner and coalitions want, in exact arithmetic.

A user with value v who bids b gets v − p if confirmed at price p, and −γ max(b − v, 0) if not: an
overbid that waits may be confirmed later. γ = 0 is the classical utility, γ = 1 charges
the worst case in full. A fake bid is one with value 0. Who wins a block adds its revenue to the
stakes, and the share of all stakes decides who wins blocks; so in the long run a miner whose blocks
earn less than everybody's gets nothing, and one whose blocks earn more gets all of them.
"""

from fractions import Fraction


def user_utility(
    value: Fraction, bid: Fraction, chance: Fraction, price: Fraction, gamma: Fraction
) -> Fraction:
    """Strict γ-utility, expected: q (v − p) − (1 − q) γ max(b − v, 0).  [tfm] (strict utility)"""
    return chance * (value - price) - (1 - chance) * gamma * max(bid - value, Fraction(0))


def long_run(revenue: Fraction, truthful: Fraction, stake: Fraction) -> Fraction:
    """U(u), average utility per block in the long run.  [pos-fees] (long-run utility)

    u per block won, μ per block that others win, x the share of stakes at the start: u if u > μ,
    for then the share tends to 1; xμ if u = μ, for then it is a martingale; 0 if u < μ. It jumps at
    u = μ, [pos-fees] (discontinuity), and BSP(γ) is not c-SCP for it, [pos-fees] (failure).
    """
    if revenue > truthful:
        return revenue
    return stake * truthful if revenue == truthful else Fraction(0)


def coalition_gain(
    accounting: str, revenue: Fraction, truthful: Fraction, users: Fraction, stake: Fraction
) -> Fraction:
    """What a coalition of the miner and some users gains.  [pos-fees] (accounting)

    `revenue` and `truthful` are the miner's u and μ, `users` what the colluding users gain in a
    block of the miner. One-shot: both in one block. Mixed: long-run utility of the miner, one-shot
    utility of users. Consistent: users gain only in the miner's blocks, 1, x or 0 of all.
    """
    if accounting == "one-shot":
        return revenue - truthful + users
    miner = long_run(revenue, truthful, stake) - stake * truthful
    return miner + users * (won(revenue, truthful, stake) if accounting == "consistent" else 1)


def won(revenue: Fraction, truthful: Fraction, stake: Fraction) -> Fraction:
    """Share of all blocks that the miner wins in the long run: 1, x or 0."""
    if revenue > truthful:
        return Fraction(1)
    return stake if revenue == truthful else Fraction(0)
