"""Which decisions may be answered again without asking the policy, and what two inputs must share for it.

A policy that uses only pure builtins answers by what it reads: its data, which its revision covers, and the parts of
the input that it refers to (``Reads``). The key of an input is therefore the input's JSON cut down to those parts:

* a value's text as it stands, so that ``1``, ``1.0``, ``true`` and ``"1"`` stay four values;
* a member that is absent stays absent, ``null`` stays ``null``, and an object above an absent member stays an object;
* where something else than an object stands above a part that is read, it is part of the key itself.

The tenant is always part of it. A key means nothing outside its revision. The text is the encoder's
(``pipeline.facts.document``): deterministic, no name twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from sidecar.model.decision import Reads

# Builtins that are a function of their arguments alone. Named one by one, because OPA marks few of the others (not
# the verifiers of certificates and tokens, which look at the clock), and because a new builtin must not slip in.
# Those that read the machine's time zones are not among them.
PURE: Final = frozenset(
    {
        *("abs", "all", "and", "any", "array.concat", "array.flatten", "array.reverse", "array.slice", "assign"),
        *("base64.decode", "base64.encode", "base64.is_valid", "base64url.decode", "base64url.encode"),
        *("base64url.encode_no_pad", "bits.and", "bits.lsh", "bits.negate", "bits.or", "bits.rsh", "bits.xor"),
        *("cast_array", "cast_boolean", "cast_null", "cast_object", "cast_set", "cast_string", "ceil", "concat"),
        *("contains", "count", "crypto.hmac.equal", "crypto.hmac.md5", "crypto.hmac.sha1", "crypto.hmac.sha256"),
        *("crypto.hmac.sha512", "crypto.md5", "crypto.sha1", "crypto.sha256", "div", "endswith", "eq", "equal"),
        *("floor", "format_int", "glob.match", "glob.quote_meta", "graph.reachable", "graph.reachable_paths"),
        *("gt", "gte", "hex.decode", "hex.encode", "indexof", "indexof_n", "internal.member_2"),
        *("internal.member_3", "internal.print", "internal.template_string", "intersection", "io.jwt.decode"),
        *("is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string", "json.filter"),
        *("json.is_valid", "json.marshal", "json.marshal_with_options", "json.patch", "json.remove"),
        *("json.unmarshal", "lower", "lt", "lte", "max", "min", "minus", "mul", "neq", "net.cidr_contains"),
        *("net.cidr_contains_matches", "net.cidr_expand", "net.cidr_intersects", "net.cidr_is_valid"),
        *("net.cidr_merge", "net.cidr_overlap", "numbers.range", "numbers.range_step", "object.filter"),
        *("object.get", "object.keys", "object.remove", "object.subset", "object.union", "object.union_n", "or"),
        *("product", "rego.metadata.chain", "rego.metadata.rule", "strings.split_n", "uri.is_valid", "uri.parse"),
        *("plus", "print", "regex.find_all_string_submatch_n", "regex.find_n", "regex.globs_match"),
        *("regex.is_valid", "regex.match", "regex.replace", "regex.split", "regex.template_match", "rem"),
        *("replace", "round", "semver.compare", "semver.is_valid", "set_diff", "sort", "split", "sprintf"),
        *("startswith", "strings.any_prefix_match", "strings.any_suffix_match", "strings.count"),
        *("strings.replace_n", "strings.reverse", "substring", "sum", "time.parse_duration_ns"),
        *("time.parse_rfc3339_ns", "to_number", "trace", "trim", "trim_left", "trim_prefix", "trim_right"),
        *("trim_space", "trim_suffix", "type_name", "union", "units.parse", "units.parse_bytes", "upper"),
        *("urlquery.decode", "urlquery.decode_object", "urlquery.encode", "urlquery.encode_object", "uuid.parse"),
        *("walk", "yaml.is_valid", "yaml.marshal", "yaml.unmarshal"),
    }
)
MOST_PARTS: Final = 256  # of the input, with those above them: more, and a key costs as much as an evaluation
_DEEPEST: Final = 16  # a longer path is cut: it then stands for everything below
_TENANT: Final = ("tenant",)
# Members taken whole where a part of them is read: what else they hold goes with the caller or the template anyway,
# and one text is found and kept in half the time of its parts (measured).
_WHOLE: Final = frozenset({"principal", "connector", "operation", "usage"})

_members = msgspec.json.Decoder(dict[str, Raw]).decode

_Tree = dict[str, "_Tree | None"]  # None: everything below


def why_not(reads: Reads) -> str | None:
    """What forbids to answer by a key, as a sentence for the policy's author; None where nothing does."""
    impure = sorted(set(reads.builtins) - PURE)
    if impure:
        return f"It uses {', '.join(impure)}: not a function of its arguments alone, or not known to be."
    paths = {_named(path[1:]) for path in reads.paths if path[0] == "input"}
    if () in paths:
        return "It reads the whole input (a bare `input`, or `input[x]`); refer to the members it needs by name."
    if len({path[:end] for path in paths for end in range(1, len(path) + 1)}) > MOST_PARTS:
        return f"It reads more than {MOST_PARTS} parts of the input."
    return None


class Key:
    """Makes keys for one policy, of which ``why_not`` had nothing to say."""

    __slots__ = ("_decode", "_encode", "_tree")

    def __init__(self, reads: Reads) -> None:
        paths = {_TENANT, *(_named(path[1:]) for path in reads.paths if path[0] == "input")}
        if ("time", "minute") in paths:
            paths.add(("time",))  # all of it changes with its minute
        tree: _Tree = {}
        for path in sorted(paths, key=len):
            _grow(tree, path)
        self._tree = tree
        self._decode = msgspec.json.Decoder(_shape(tree)).decode
        self._encode = msgspec.json.Encoder().encode

    def of(self, document: bytes) -> bytes:
        """The key of one input."""
        try:
            return self._encode(self._decode(document))
        except msgspec.DecodeError:  # not an object where one was expected: seldom, and five times slower
            return self._encode(_cut(self._tree, Raw(document)))


def _named(path: Iterable[Any]) -> tuple[str, ...]:
    """The path up to its first part that names no member, such as an index."""
    names: list[str] = []
    for part in path:
        if not isinstance(part, str) or len(names) == _DEEPEST or not _plain(part):
            break
        names.append(part)
    return tuple(names[:1]) if names and names[0] in _WHOLE else tuple(names)


def _plain(name: str) -> bool:
    """Whether msgspec takes a field of this name: no quotes, backslashes, control characters or lone surrogates."""
    return name.isprintable() and '"' not in name and "\\" not in name


def _grow(tree: _Tree, path: tuple[str, ...]) -> None:
    """Add a path; shorter ones come before longer ones."""
    *above, last = path
    for name in above:
        below = tree.setdefault(name, {})
        if below is None:
            return
        tree = below
    tree.setdefault(last, None)


def _cut(tree: _Tree, text: Raw) -> Any:
    """What ``_shape`` keeps of the text, and as it stands whatever is no object."""
    try:
        members = _members(text)
    except msgspec.DecodeError:
        return text
    return {
        name: members[name] if below is None else _cut(below, members[name])
        for name, below in tree.items()
        if name in members
    }


def _shape(tree: _Tree) -> type[msgspec.Struct]:
    """A type that decodes the tree's members, as they stand, and passes over all others."""
    fields: list[tuple[str, Any, Any]] = []
    for number, below in enumerate(tree.values()):
        kind: Any = Raw if below is None else _shape(below) | None
        fields.append((f"m{number}", kind | UnsetType, UNSET))
    names = {f"m{number}": name for number, name in enumerate(tree)}
    return msgspec.defstruct("Shape", fields, rename=names, frozen=True, omit_defaults=True, gc=False)
