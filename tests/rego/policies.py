"""Policies in which reading is easily overlooked: what a decision cache and other readers of Rego must get right.

Each is the body of a module ``sidecar.authz`` that defines ``decision``; ``OTHERS`` and ``DATA`` lie beside it.
``NARROW`` ones read named parts of the input, ``WHOLE`` ones all of it, and ``IMPURE`` ones use a builtin that is no
function of its arguments.
"""

from __future__ import annotations

import json
from typing import Any, Final

DATA: Final[dict[str, Any]] = {
    "grants": {"x": {"y": True, "x": False, "": 1}, "y": {"x": [1, 2]}, "1": {"y": None}},
    "blocked": ["x", 1, None],
    "limits": {"x": 1, "y": 2.5},
}

NARROW: Final[dict[str, str]] = {
    "plain references": 'decision := {"a": input.a, "b": input.o.b} if input.c == "x"',
    "undefined references": """
decision := {"deep": deep, "deeper": deeper}
default deep := "none"
deep := input.o.b.c
default deeper := "none"
deeper := input.o.b.c.d.e
""",
    "negation of what is absent": """
decision := {"a": a, "b": b, "c": c}
default a := false
a if not input.a
default b := false
b if not input.o.b
default c := false
c if not input.o.b.c == "x"
""",
    "absent from a set": """
default decision := false
decision if not input.a in data.blocked
""",
    "null and false": """
decision := {"null": [n | n := input.a == null], "false": [f | f := input.a == false], "defined": defined}
default defined := false
defined if input.a == input.a
""",
    "dynamic references into data": """
decision := data.grants[input.a][input.b]
""",
    "dynamic references into data, some undefined": """
decision := {g | g := data.grants[input.a][_]} | {l | l := data.limits[input.o.b]}
""",
    "dynamic references into the input": """
decision := [v | some k in ["b", "c", "z"]; v := input.o[k]]
""",
    "references by the input's own values": """
decision := input.o[input.k]
""",
    "virtual documents by a name from the input": """
decision := data.rules[input.a].answer
""",
    "partial sets": """
decision := {"found": found, "has": has}
found contains input.a
found contains x if some x in input.l
found contains "o" if input.o.b
default has := false
has if found["x"]
""",
    "partial objects": """
decision := named
named[input.a] := "a" if is_string(input.a)
named.fixed := input.b
named[key] := value if some key, value in input.o
""",
    "heads with references": """
decision := tree
tree[input.a].leaf := input.b if input.c == "x"
tree.other.leaf := 1
""",
    "with on the input": """
decision := {"own": other, "lent": x} if x := other with input.a as input.b
default other := "none"
other := input.a
""",
    "with a variable on the input": """
lent := input.z.c
decision := v if {
	x := input.o
	input.o.b
	v := lent with input.z as x
}
""",
    "with below what is read": """
decision := x if x := other with input.o.b as input.a
default other := "none"
other := input.o
""",
    "with on data": """
decision := x if x := granted with data.grants as {"x": {"y": input.c}}
default granted := "no"
granted := data.grants[input.a][input.b]
""",
    "with on a function": """
f(x) := [x, "f"]
g(x) := [x, input.c]
decision := x if x := called with f as g
called := f(input.a)
""",
    "with on a builtin": """
fake(_) := input.c
decision := x if x := counted with count as fake
counted := count(input.a)
""",
    "a variable in a composite key": """
known[[{"b": "x", "c": "x"}, 1]] := "both"
known[[{"b": "x", "c": "y"}, 1]] := "one"
known[[{"b": "x"}, 1]] := "alone"
decision := v if {
	x := input.o
	input.o.b == "x"
	v := known[[x, 1]]
}
""",
    "a variable that is only defined": """
decision := "defined" if {
	_ := input.o.b
	x := input.a
	input.c == "x"
}
""",
    "patterns": """
decision := [x, y] if {
	[x, y] = input.l
} else := [x] if {
	{"b": x} = input.o
} else := "neither"
""",
    "unification of two": "decision if input.a = input.b",
    "comprehensions": """
decision := {
	"array": [x | some x in input.l],
	"set": {x | x := input.o[_]},
	"object": {k: v | some k, v in input.o; v != input.a},
}
""",
    "nested comprehensions": """
decision := [[y | some y in input.l; y != x] | some x in input.l]
""",
    "every": """
default decision := false
decision if every x in input.l { x != input.a }
""",
    "else": """
decision := 1 if input.a == "x"
else := 2 if not input.o.b
else := input.c if input.b
else := "last"
""",
    "functions of a part": """
f(o) := o.b if o.c
f(o) := "empty" if o == {}
decision := {"o": f(input.o)}
""",
    "functions of a whole part": """
first(o) := object.get(o, "b", "none")
decision := first(input.o)
""",
    "conflicts": """
decision := "x" if input.a == "x"
decision := "y" if input.b == "y"
""",
    "the type of a number": """
decision := sprintf("%v %T %v %d", [input.a, input.a, input.b, input.c])
""",
    "types": "decision := [type_name(input.a), type_name(input.b), is_object(input.o)]",
    "text of a part": "decision := json.marshal(input.o)",
    "arithmetic": "decision := (input.a * 2) + input.b",
    "comparisons": """
decision := {"lt": [1 | input.a < input.b], "eq": [1 | input.a == input.b], "max": max([input.a, input.c])}
""",
    "builtins that fail": 'decision := {"n": [n | n := to_number(input.a)], "s": [s | s := split(input.b, "")]}',
    "walk of a part": "decision := {p | some p; walk(input.o, [p, _])}",
    "places in a list": "decision := [input.l[0], input.l[1]]",
    "template strings": 'decision := $"{input.a} and {input.o.b}"',
    "a regular expression": "decision := regex.match(`^[xy]$`, input.a)",
    "rules through rules": """
one := two if input.a
two := three if not input.b
three := {"l": input.l}
decision := one
""",
    "several definitions": """
decision if input.a == "x"
decision if input.o.b == "x"
decision if { some x in input.l; x == input.c }
""",
    "nothing of the input": "decision := data.limits",
    "defaults of functions": """
default f(_) := "none"
f(x) := input.b if x == "x"
decision := f(input.a)
""",
    "sets of what is read": 'decision := {input.a, input.b} == {"x", "y"}',
    "quoted and odd names": 'decision := [x | some x in [input.odd["quo\\"te"], input.odd["é"], input[""]]]',
}

OTHERS: Final[dict[str, str]] = {
    "rules/x.rego": "package rules.x\nanswer := input.b",
    "rules/y.rego": "package rules.y\nanswer := input.o.b",
}

WHOLE: Final[dict[str, str]] = {
    "a function of the whole input": "f(i) := i.a\ndecision := f(input)",
    "the whole input by a variable": "decision := x.a if x := input",
    "a name from a variable": 'decision := [v | some k in ["a", "b"]; v := input[k]]',
    "a name from the input": "decision := input[input.a]",
    "object.get of the whole input": 'decision := object.get(input, "a", 0)',
    "walk of the whole input": "decision := count([p | walk(input, [p, _])])",
    "the input itself": "decision := input",
    "with the input replaced": 'decision := x if x := other with input as {"a": 1}\nother := input.a',
}

IMPURE: Final[dict[str, str]] = {
    "the clock": "decision := time.now_ns() > 0",
    "dice": "decision := rand.intn(input.a, 1000000)",
    "a new id": "decision := uuid.rfc4122(input.a)",
    "dice in another function's place": 'f(_, _) := 1\ndecision := x if x := f("x", 1000000) with f as rand.intn',
    "the clock in a rule that is seldom asked": "decision if input.a == 5\ndecision if time.now_ns() < input.b",
    "a token's expiry": 'decision := io.jwt.decode_verify(input.a, {"secret": "x"})',
}


def modules(rules: str) -> dict[str, str]:
    """The modules of one of these policies, by file name."""
    return {"policy.rego": "package sidecar.authz\n" + rules, **OTHERS}


def source(rules: str) -> bytes:
    """What the embedded engine loads for it."""
    return json.dumps({"modules": modules(rules), "data": DATA}).encode()
