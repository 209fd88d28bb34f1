"""Reads a YAML file as it stands: nothing in it is resolved or looked up, and its size in memory is bounded."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError

MOST_NODES = 1_000_000
"""How many values a file may stand for, once its aliases are written out."""
DEEPEST = 100


class _Loader(yaml.SafeLoader):
    """YAML's plain values, with two differences: keys must not repeat, and `1e5` is a number, as in YAML 1.2.

    Dates stay text: they are names and values of the user's.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            wrong = None if isinstance(key, Hashable) else "a key must be text or a number"
            if wrong is None and key in seen:
                wrong = f"found duplicate key {key!r}"
            if wrong:
                raise yaml.constructor.ConstructorError(None, None, wrong, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_FLOAT = re.compile(
    r"""^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)
    |\.[0-9_]+(?:[eE][-+]?[0-9]+)?
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def read_yaml(path: Path) -> Any:
    """The content of a YAML file as plain Python values.

    Raises:
        ValueError: it is not YAML, repeats a key, is nested too deeply, or its aliases stand for too much; the message
            has the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            _check_size(node)
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error}. Save it as UTF-8.") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply (at most {DEEPEST} levels), or contains itself.") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None


def _check_size(node: yaml.Node | None) -> None:
    """Raises a YAMLError where the values, aliases written out, are too many or nested too deeply."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        if depth > DEEPEST:
            raise yaml.YAMLError(f"it is nested more than {DEEPEST} levels deep\n{node.start_mark}")
        if id(node) not in sizes:
            below = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
            sizes[id(node)] = 1 + (0 if isinstance(node, yaml.ScalarNode) else sum(size(n, depth + 1) for n in below))
        if sizes[id(node)] > MOST_NODES:
            raise yaml.YAMLError(f"its aliases stand for more than {MOST_NODES} values\n{node.start_mark}")
        return sizes[id(node)]

    if node is not None:
        size(node, 0)
