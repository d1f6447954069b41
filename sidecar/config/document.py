"""YAML text to one plain document that still knows the line of every value.

The text is composed once by libyaml (PyYAML's C parser); scalars follow the YAML 1.2.2 core schema (section 10.3), so
``no``, ``on``, ``1_000``, ``12:30:00`` and dates are text, ``017`` is seventeen and only ``true`` and ``false`` are
booleans. What JSON cannot hold is refused: keys that are not text, duplicate keys, ``.inf``, ``.nan``, integers
beyond 64 bits and tags outside the core schema. Aliases are allowed but may not make the document large or deep.

libyaml's composer recurses in C without a bound and dies on a few thousand brackets: the depth is counted in the hook
that it calls for every node.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final, NamedTuple, NoReturn

from yaml import CSafeLoader, MappingNode, MarkedYAMLError, Node, ScalarNode, SequenceNode, YAMLError

BYTES_LIMIT: Final = 4 << 20
DEPTH_LIMIT: Final = 64
NODES_LIMIT: Final = 250_000  # after aliases are expanded

_PLAIN, _QUOTED = "?", "!"  # non-specific tags (YAML 1.2.2 section 6.9.1)
_CORE: Final = "tag:yaml.org,2002:"
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_STARTS: Final = frozenset("+-.0123456789")

_NEXT: Final = {  # what libyaml finds, and what helps
    "found character that cannot start any token": "indent with spaces, not tabs; quote text that begins with @ or `",
    "mapping values are not allowed in this context": "quote text that holds a colon; mind the indentation",
    "did not find expected ',' or '}'": "within {...}, quote text that holds a bracket or a comma",
}

JsonPath = tuple[str | int, ...]


class Place(NamedTuple):
    """A position in the file; both count from one."""

    line: int
    column: int


class DocumentError(Exception):
    """The text is not a document; ``places`` pairs each sentence with its position, where there is one."""

    def __init__(self, places: list[tuple[str, Place | None]]) -> None:
        super().__init__(places[0][0])
        self.places = places


class Document:
    """Plain values (``value``) and where each came from (``place``)."""

    def __init__(self, root: Node, value: Any) -> None:
        self._root = root
        self._children: dict[int, dict[object, tuple[Node, Node]]] = {}  # by the node's identity, filled when asked
        self.value = value

    def place(self, path: JsonPath, *, key: bool = False) -> Place:
        """Where ``path`` is written, or the nearest thing around it; ``key``: the key rather than its value."""
        node, at = self._root, self._root
        for step in path:
            found = self._child(node, step)
            if found is None:
                return _place(at)
            name, node = found
            at = name if key or not isinstance(node, ScalarNode) else node
        return _place(at)

    def _child(self, node: Node, step: str | int) -> tuple[Node, Node] | None:
        """The nodes of a key and its value; of a list's item twice the item."""
        if isinstance(node, SequenceNode):
            return (node.value[step],) * 2 if isinstance(step, int) and step < len(node.value) else None
        if not isinstance(node, MappingNode):
            return None
        if id(node) not in self._children:
            self._children[id(node)] = {name.value: (name, item) for name, item in reversed(node.value)}
        return self._children[id(node)].get(step)


def parse(data: bytes) -> Document:
    """Compose and build. Raises ``DocumentError`` with every duplicate or unusable value, not the first only."""
    if len(data) > BYTES_LIMIT:
        raise DocumentError([(f"the file is larger than {BYTES_LIMIT >> 20} MiB", None)])
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError([("the file is not UTF-8 text", Place(line, 1))]) from None
    root = _compose(data)
    build = _Build()
    value = build.value(root, 0)
    if build.faults:
        raise DocumentError(build.faults)
    return Document(root, value)


def scalar(text: str) -> Any:
    """A plain scalar's value by the core schema. Raises ``ValueError`` for what JSON cannot hold."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _finite(float(text))
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("a number must be finite")
    return text


def _integer(text: str) -> int:
    if len(text) > 25:
        raise ValueError("an integer must fit in 64 bits")
    number = int(text[2:], 8) if text.startswith("0o") else int(text, 16 if text.startswith("0x") else 10)
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError("an integer must fit in 64 bits")
    return number


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("a number must be finite")
    return number


class _Composer(CSafeLoader):
    """libyaml's composer with tags left open, depth and node count bounded."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._depth = 0
        self._count = 0

    def resolve(self, *node: object) -> str:
        implicit = node[2]
        return _PLAIN if isinstance(implicit, tuple) and implicit[0] else _QUOTED

    def descend_resolver(self, *_: object) -> None:
        self._depth += 1
        self._count += 1
        if self._depth > DEPTH_LIMIT + 1:
            raise DocumentError([(f"the document is nested more than {DEPTH_LIMIT} deep", None)])
        if self._count > NODES_LIMIT:
            _too_large()

    def ascend_resolver(self) -> None:
        self._depth -= 1


def _compose(data: bytes) -> Node:
    try:
        root = _Composer(data).get_single_node()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else None
        told = error.problem or error.context or ""
        following = f" ({_NEXT[told]})" if told in _NEXT else ""
        raise DocumentError([(f"not YAML: {told}{following}", place)]) from None
    except YAMLError:
        raise DocumentError([("not YAML: the file has characters that YAML does not allow", None)]) from None
    if root is None:
        raise DocumentError([("the file is empty", None)])
    return root


class _Build:
    """One walk from nodes to values; collects what is wrong and goes on."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, Place | None]] = []
        self._count = 0

    def value(self, node: Node, depth: int) -> Any:
        self._count += 1
        if self._count > NODES_LIMIT:
            _too_large()
        if depth > DEPTH_LIMIT:  # an alias inside its own anchor never ends
            raise DocumentError([(f"the document is nested more than {DEPTH_LIMIT} deep", _place(node))])
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if isinstance(node, MappingNode):
            return self._mapping(node, depth)
        self._expect(node, "seq")
        return [self.value(item, depth + 1) for item in node.value]

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Any]:
        self._expect(node, "map")
        result: dict[str, Any] = {}
        for name, item in node.value:
            key = self._key(name)
            made = self.value(item, depth + 1)
            if key in result:
                self._fault("the key is written twice", name)
            elif key is not None:
                result[key] = made
        return result

    def _key(self, name: Node) -> str | None:
        if isinstance(name, ScalarNode):
            key = self._scalar(name)
            if isinstance(key, str):
                return key
        self._fault("a key must be text: put it in quotes", name)
        return None

    def _scalar(self, node: ScalarNode) -> Any:
        tag, text = node.tag, node.value
        if tag == _PLAIN:
            try:
                return scalar(text)
            except ValueError as error:
                self._fault(str(error), node)
                return None
        if tag in (_QUOTED, f"{_CORE}str"):
            return text
        return self._tagged(node, tag.removeprefix(_CORE))

    def _tagged(self, node: ScalarNode, kind: str) -> Any:
        kinds: dict[str, tuple[type, ...]] = {
            "int": (int,),
            "float": (float, int),
            "bool": (bool,),
            "null": (type(None),),
        }
        if kind not in kinds:
            self._fault("the tag is not one of YAML's core schema", node)
            return None
        try:
            result = scalar(node.value)
        except ValueError as error:
            self._fault(str(error), node)
            return None
        if type(result) not in kinds[kind]:
            self._fault(f"the value is not what its tag !!{kind} says", node)
        return float(result) if kind == "float" and type(result) is int else result

    def _expect(self, node: Node, kind: str) -> None:
        if node.tag not in (_QUOTED, _PLAIN, _CORE + kind):
            self._fault("the tag is not one of YAML's core schema", node)

    def _fault(self, sentence: str, node: Node) -> None:
        self.faults.append((sentence, _place(node)))


def _too_large() -> NoReturn:
    raise DocumentError([(f"the document has more than {NODES_LIMIT} values, aliases counted each time", None)])


def _place(node: Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)
