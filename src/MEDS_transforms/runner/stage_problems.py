"""What the check of a stage finds wrong, as part of a message, and told apart from what is said already."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from ..errors import ITEM, Problem, UserError, problems_in
from ..precheck.report import UNUSABLE, kind_of


@dataclass(frozen=True)
class StageProblems:
    """What is wrong with a stage.

    Args:
        stage: its name; empty where it is said of no stage.
        found: each problem.
        headline: what these have in common, where there may be several.
        kind: the kind of remarks that they make.
    """

    stage: str
    found: Sequence[Problem]
    headline: str = ""
    kind: str = UNUSABLE

    @classmethod
    def of(cls, stage: str, error: Exception) -> "StageProblems":
        """What an exception says."""
        headline = error.headline if isinstance(error, UserError) else ""
        return cls(stage, problems_in(error), headline, kind_of(error))

    @property
    def message(self) -> str:
        """All of it as an item of a message about a pipeline."""
        text = ITEM.join([f"{self.headline}:", *self.found]) if self.headline else "\n".join(self.found)
        return f"{self.stage}: {text}".replace("\n", "\n    ").removeprefix(": ")

    def without(self, said: Collection[str], keys: Collection[str] = ()) -> "StageProblems":
        """What is left without problems in these words, and without those that are all about these top-level keys."""
        words = {text.removesuffix(".") for text in said}
        left = [one for one in self.found if one.removesuffix(".") not in words and not top_keys(one) & {*keys}]
        return replace(self, found=left)


def top_keys(problem: Problem) -> set[str]:
    """The keys at the top of a pipeline below which a problem is: `a` of `a.b[0]`."""
    return {place.partition(".")[0].partition("[")[0] for place in problem.where.split(", ") if place}


def messages(found: Iterable[StageProblems]) -> list[str]:
    """The messages of stages about which something is left to say."""
    return [one.message for one in found if one.found]
