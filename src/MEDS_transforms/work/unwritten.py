"""Outputs that are not written, since later stages take them from memory: a record says what would have made them."""

from .accounts import Account
from .outputs import StageOutputs
from .provenance import has_begun


def is_untouched(outputs: StageOutputs) -> bool:
    """Whether nothing is in the folder, and no run has begun there, so that no outputs need be looked at."""
    record = outputs.closing.record
    return not (has_begun(outputs.run.path) or (record and not record.freed) or outputs.files.there())


def would_replace_others(outputs: StageOutputs) -> bool:
    """Whether a record is there of outputs, kept or not, that something else made and that nobody gave up."""
    record, asked = outputs.closing.record, outputs.asked
    return bool(record and not asked.overwrite and not record.made_by.is_same_as(asked.maker))


def leave_no_files(outputs: StageOutputs, account: Account | None = None) -> None:
    """Records what makes the outputs, which are not kept and were not written, and what is to be told of them."""
    outputs.closing.leave_no_files(outputs.completed_maker(), account or {})
