"""Whether a function does nothing but call another one, by its source."""

import ast
import inspect
import textwrap
from collections.abc import Callable


def just_calls(function: Callable[..., object], name: str) -> bool:
    """Whether all that a function of one argument does is to call one of this name with that argument first.

    >>> just_calls(inspect.unwrap, "f")
    False
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError, SyntaxError):  # no file, or a part of a line
        return False
    return len(tree.body) == 1 and isinstance(tree.body[0], ast.FunctionDef) and is_one_call(tree.body[0], name)


def is_one_call(function: ast.FunctionDef, name: str) -> bool:
    """The same of a function's definition."""
    parameters = function.args
    body = [statement for statement in function.body if not _is_text(statement)]
    call = body[0].value if len(body) == 1 and isinstance(body[0], ast.Expr | ast.Return) else None
    if not isinstance(call, ast.Call) or len(parameters.args) != 1 or parameters.vararg or parameters.kwarg:
        return False
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
    first = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "cfg"), None)
    return called == name and isinstance(first, ast.Name) and first.id == parameters.args[0].arg


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
