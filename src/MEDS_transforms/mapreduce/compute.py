"""What a compute function wants, judged by its signature, and how it gets that."""

import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import polars as pl

from ..errors import InputError, MissingInputError, WrongTypeError
from ..settings.keys import code_modifiers
from ..settings.layout import CODES_FILE

ComputeFn = Callable[..., Any]

FRAME = "df"
CODE_METADATA = "code_metadata"
PARAMETERS = ("cfg", "stage_cfg", "code_modifiers", CODE_METADATA)


class ComputeFnType(StrEnum):
    """The shapes a compute function can have."""

    DIRECT = "direct"
    UNBOUND = "unbound"
    FUNCTOR = "functor"


def identity_fn(df: Any) -> Any:
    """Returns what it gets."""
    return df


def compute_fn_type(compute_fn: ComputeFn) -> ComputeFnType:
    """The shape of a compute function.

    - direct: exactly one parameter `df`; returns a frame;
    - unbound: `df` and any of `cfg`, `stage_cfg`, `code_modifiers`, `code_metadata`; returns a frame;
    - functor: any of those without `df`; returns the direct function.

    Raises:
        TypeError: it cannot be called.
        ValueError: it has another parameter, or a return annotation that contradicts its shape.
    """
    if not callable(compute_fn):
        raise WrongTypeError(f"A compute function must be callable, not {compute_fn!r}.")
    parameters = inspect.signature(compute_fn).parameters
    allowed = (FRAME, *PARAMETERS)
    if strange := [
        str(p)
        for n, p in parameters.items()
        if n not in allowed or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY)
    ]:
        raise InputError(
            f"Invalid compute function {_name(compute_fn)}: its parameters may only be {', '.join(allowed)}, "
            f"by name, not {', '.join(strange)}."
        )
    is_functor = FRAME not in parameters
    returns_callable = _returns_callable(compute_fn)
    if returns_callable is not None and returns_callable is not is_functor:
        must = (
            "without a parameter `df` it returns the function to apply, so its return annotation must be Callable."
            if is_functor
            else "with a parameter `df` it returns a frame, so its return annotation must not be Callable."
        )
        raise InputError(f"Invalid compute function {_name(compute_fn)}: {must}")
    if is_functor:
        return ComputeFnType.FUNCTOR
    return ComputeFnType.DIRECT if len(parameters) == 1 else ComputeFnType.UNBOUND


def bind_compute_fn(
    cfg: Mapping[str, Any],
    stage_cfg: Mapping[str, Any],
    compute_fn: ComputeFn | None,
    metadata: pl.DataFrame | None = None,
) -> ComputeFn:
    """The function of one frame that a compute function of any shape stands for; None is the identity.

    `code_modifiers` is `cfg.code_modifiers` or None; `code_metadata` is the frame in
    `<stage_cfg.metadata_input_dir>/codes.parquet`, read once, or `metadata` if that is given. Where there is no such
    file, a function whose parameter has a default gets that.

    Raises:
        TypeError, ValueError: as `compute_fn_type`.
        FileNotFoundError: `code_metadata` is wanted and does not exist.
    """
    if compute_fn is None:
        return identity_fn
    kind = compute_fn_type(compute_fn)
    if kind is ComputeFnType.DIRECT:
        return compute_fn
    wanted = inspect.signature(compute_fn).parameters
    values: dict[str, Callable[[], Any]] = {
        "cfg": lambda: cfg,
        "stage_cfg": lambda: stage_cfg,
        "code_modifiers": lambda: code_modifiers(cfg),
        "code_metadata": lambda: _code_metadata(stage_cfg, compute_fn) if metadata is None else metadata,
    }
    arguments = {name: value() for name, value in values.items() if name in wanted}
    if kind is ComputeFnType.FUNCTOR:
        return compute_fn(**arguments)  # type: ignore[no-any-return]
    return lambda df: compute_fn(df=df, **arguments)


def wants(compute_fn: ComputeFn | None, parameter: str) -> bool:
    """Whether a compute function has a parameter, and so is given what it names."""
    return compute_fn is not None and parameter in inspect.signature(compute_fn).parameters


def needs(compute_fn: ComputeFn | None, parameter: str) -> bool:
    """Whether a compute function cannot be called without what a parameter names."""
    return wants(compute_fn, parameter) and _default(compute_fn, parameter) is inspect.Parameter.empty


def _default(compute_fn: ComputeFn | None, parameter: str) -> Any:
    return inspect.signature(compute_fn).parameters[parameter].default if compute_fn else None


def _code_metadata(stage_cfg: Mapping[str, Any], compute_fn: ComputeFn) -> Any:
    path = Path(stage_cfg["metadata_input_dir"]) / CODES_FILE
    if not path.is_file():
        if not needs(compute_fn, CODE_METADATA):
            return _default(compute_fn, CODE_METADATA)
        raise MissingInputError(
            f"There is no code metadata {path}. Run the metadata stage that makes it first, or correct "
            "metadata_input_dir."
        )
    file = path.stat()
    return _read_once(path, (file.st_ino, file.st_mtime_ns, file.st_size))


@lru_cache(maxsize=1)
def _read_once(path: Path, _version: tuple[int, ...]) -> pl.DataFrame:
    return pl.read_parquet(path, glob=False)


def _returns_callable(compute_fn: ComputeFn) -> bool | None:
    """Whether the return annotation is a Callable; None without one that can be understood."""
    try:
        annotation = get_type_hints(compute_fn).get("return")
    except Exception:  # a name that is only known to type checkers
        annotation = inspect.signature(compute_fn).return_annotation
        if annotation is inspect.Signature.empty:
            return None
    if annotation is None:
        return None
    if isinstance(annotation, str):
        return annotation.split("[")[0].rpartition(".")[2] == "Callable"
    return (get_origin(annotation) or annotation) is Callable


def _name(compute_fn: ComputeFn) -> str:
    return getattr(compute_fn, "__qualname__", repr(compute_fn)) + str(inspect.signature(compute_fn))
