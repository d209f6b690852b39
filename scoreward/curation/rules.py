"""Which edited pictures make a pair, and which of the two pictures wins.  [rpo] (rules)

The rules are ours; the authors' thresholds are not known to us. All are settings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scoreward.curation.records import Label

NO_OP = "no-op: the edit changed nothing"
REPLACED = "replacement: the edit is another picture"
CLOSE = "gap too small"
DISAGREE = "deciding rewards disagree"
VETO = "audits disagree"
WORSE = "edit made it worse"


@dataclass(frozen=True)
class Rules:
    """Thresholds of the last stage; all ours, to be calibrated on pairs checked by hand."""

    mode: Literal["relabel", "improve_only"] = "relabel"  # an edit that made it worse: pair or not
    gap: tuple[float, ...] = (0.3,)  # least difference of each deciding reward, or one for all
    same: float = 0.995  # an edit more alike than this changed nothing
    other: float = 0.6  # an edit less alike than this is another picture
    agree: int = 0  # auditing rewards that must agree with the label
    per_prompt: int = 4  # pairs of one prompt at most
    top: float = 1.0  # share of the kept pairs with the largest gaps that is written

    def __post_init__(self) -> None:
        if self.per_prompt < 1:
            raise ValueError(f"`per_prompt` must be at least 1, got {self.per_prompt}")
        if not self.gap or min(self.gap) < 0:
            raise ValueError(f"`gap` needs one number or more, none below 0, got {self.gap}")
        if not 0 < self.top <= 1:
            raise ValueError(f"`top` is a share above 0 up to 1, got {self.top}")

    def check(self, deciding: int, auditing: int) -> None:
        """Raises ValueError unless the rules fit so many rewards."""
        if len(self.gap) not in (1, deciding):
            raise ValueError(
                f"{len(self.gap)} gaps for {deciding} deciding rewards; give one for each, or one "
                "for all"
            )
        if not 0 <= self.agree <= auditing:
            raise ValueError(f"{self.agree} audits must agree, but there are {auditing}")

    def changed(self, similarity: float) -> str:
        """ "" for an edit, else why it is none."""
        if similarity > self.same:
            return NO_OP
        return REPLACED if similarity < self.other else ""

    def label(
        self, margins: Mapping[str, float], deciding: Sequence[str], auditing: Sequence[str]
    ) -> tuple[Label, str]:
        """(which picture wins, "") or ("", why the pair is dropped); margins are edited − original.

        A deciding reward votes if its gap is large enough; more than half of all must vote alike.
        """
        gaps = self.gap * len(deciding) if len(self.gap) == 1 else self.gap
        votes = []
        for name, gap in zip(deciding, gaps):
            margin = margins[name]
            votes.append(0 if margin == 0 or abs(margin) < gap else 1 if margin > 0 else -1)
        if not any(votes):
            return "", CLOSE
        if abs(sum(votes)) == 0 or 2 * votes.count(1 if sum(votes) > 0 else -1) <= len(votes):
            return "", DISAGREE
        sign = 1 if sum(votes) > 0 else -1
        if sum(margins[name] * sign > 0 for name in auditing) < self.agree:
            return "", VETO
        if sign < 0 and self.mode == "improve_only":
            return "", WORSE
        return ("edited" if sign > 0 else "original"), ""
