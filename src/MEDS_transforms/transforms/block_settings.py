"""Reads what several blocks have in their settings: keys that are arguments of a function, codes with names in them."""

import re
from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any, TypeVar

from ..errors import InputError, Problem, Problems, UserError, listed, nearest

T = TypeVar("T")

_NAME = re.compile(r"\{([^{}]*)\}")


def call_with(block: Any, make: Callable[..., T], where: str, problems: Problems) -> T | None:
    """What a function makes of a block whose keys are its arguments; where any is wrong, all that is noted.

    A function that takes any keyword has a block whose keys are names of the user's own.
    """
    if not isinstance(block, Mapping):
        problems.add(f"{where} must be a block of keys, or null for none, not {block!r}")
        return None
    given = {str(key): value for key, value in block.items()}
    arguments = signature(make).parameters
    wrong = [f"{key} is missing" for key, one in arguments.items() if _is_mandatory(one) and key not in given]
    if not any(one.kind is Parameter.VAR_KEYWORD for one in arguments.values()):
        unknown = [key for key in given if key not in arguments]
        wrong += [f"unknown key {key}{nearest(key, arguments)}; known: {listed(arguments)}" for key in unknown]
    if not wrong:
        try:
            return make(**given)
        except UserError as error:
            wrong = [*error.problems]
    problems.found += [Problem.of(text).below(where) for text in wrong]
    return None


def _is_mandatory(argument: Parameter) -> bool:
    return argument.default is Parameter.empty and argument.kind is not Parameter.VAR_KEYWORD


def check_code(key: str, code: Any) -> None:
    """Raises an error if a code is not text."""
    if not isinstance(code, str):
        raise InputError(f"{key} must be text, not {code!r}")


def code_with(key: str, template: Any, **values: str) -> str:
    """A code with values in place of the names in braces.

    Raises:
        InputError: it is not text, or has another name in braces.

    >>> code_with("code", "SINCE//{name}", name="ADMISSION", unit="hours")
    'SINCE//ADMISSION'
    """
    check_code(key, template)
    if unknown := [name for name in _NAME.findall(template) if name not in values]:
        hint, known = nearest(unknown[0], values), listed(f"{{{name}}}" for name in values)
        raise InputError(f"{key}: {{{unknown[0]}}} in {template!r} is unknown{hint}; known: {known}")
    return _NAME.sub(lambda found: values[found[1]], template)
