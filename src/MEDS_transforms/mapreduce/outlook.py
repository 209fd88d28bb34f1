"""Whether the outputs of a stage are done, or something else has made them: asked before it runs."""

from collections.abc import Callable, Mapping
from typing import Any

from ..work.asking import Answer, asking
from .passes import plan_of


def is_finished(run: Callable[[Any], object], cfg: Mapping[str, Any]) -> bool | None:
    """Whether all outputs of a stage are there as they would be made; None if that cannot be told.

    Args:
        run: the function of a stage of this package.
        cfg: its configuration. What it reads must be there.

    Raises:
        UserError: the stage would refuse to run, such as for outputs that other settings or inputs have made.
    """
    if plan := plan_of(run, cfg):
        return plan.outputs.outlook(plan.steps)
    try:
        with asking():
            run(cfg)
    except Answer as answer:
        return answer.outputs.outlook(answer.units)
    return None
