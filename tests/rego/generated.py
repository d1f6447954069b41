"""Random Rego: rules that refer to the input, to data, to each other and to locals in ways nobody would write.

A module defines ``decision`` as the values of its rules ``r0`` to ``r3``. A rule refers only to later ones, so none
is recursive; half of the modules are refused by the compiler all the same, mostly for types that can never match.
"""

from __future__ import annotations

import random
from typing import Final

RULES: Final = 4
_PATHS: Final = (
    *("input.a", "input.b", "input.c", "input.o", "input.o.b", "input.o.c", "input.o.b.c", "input.l", "input.l[0]"),
    *("input.o[input.k]", "data.grants[input.a]", "data.grants[input.a][input.b]", "data.limits[input.o.b]"),
    *("data.rules[input.a].answer", "data.grants.x", "data.blocked"),
)
_LITERALS: Final = ('"x"', '"y"', "1", "1.0", "true", "null", "[]", '{"x"}', '{"b": "x"}')
_TARGETS: Final = ("input.a", "input.o", "input.o.b", "input.l", "data.grants", "data.blocked")


def modules(count: int) -> dict[str, str]:
    """``count`` policies by name, always the same."""
    return {f"generated {number}": module(random.Random(number)) for number in range(count)}


def module(dice: random.Random) -> str:
    """One policy, without its package line."""
    rules = [_rule(dice, number) for number in range(RULES)]
    answers = ", ".join(f'"r{number}": [v | v := r{number}]' for number in range(RULES))
    return "\n".join([f"decision := {{{answers}}}", *rules]) + "\n"


def _rule(dice: random.Random, number: int) -> str:
    """One or two definitions of rule ``number``: complete, partial, or by way of a function."""
    name, kind = f"r{number}", dice.randrange(5)
    writer = _Writer(dice, number)
    if kind == 0:
        body = writer.body(2)
        return f"default {name} := false\n{name} if {{ {body} }}"
    if kind == 1:
        body = writer.body(2)
        return f"{name} contains {writer.term()} if {{ {body} }}"
    if kind == 2:
        body = writer.body(2)
        return f"{name}[{writer.term()}] := {writer.term()} if {{ {body} }}"
    if kind == 3:
        inner = _Writer(dice, number, ["p"])
        body = inner.body(2)
        function = f"f{number}(p) := {inner.term()} if {{ {body} }}\nf{number}(p) := p if p == {writer.term()}"
        return f"{function}\n{name} := f{number}({writer.term()})"
    body = writer.body(3)
    last = _Writer(dice, number)
    return f"{name} := {writer.term()} if {{ {body} }} else := {last.term()}"


class _Writer:
    """Writes one body; ``known`` are the locals that are bound so far."""

    def __init__(self, dice: random.Random, number: int, known: list[str] | None = None) -> None:
        self._dice = dice
        self._number = number
        self._known = list(known or [])
        self._names = 0

    def body(self, statements: int) -> str:
        return "; ".join(self._statement() for _ in range(self._dice.randint(1, statements)))

    def term(self, depth: int = 0) -> str:
        """A value: read, known, written, or made of others."""
        dice, roll = self._dice, self._dice.random()
        if roll < 0.35 or depth > 1:
            return dice.choice(_PATHS)
        if roll < 0.55 and self._known:
            return dice.choice(self._known) + dice.choice(("", "", ".b", "[0]", "[input.k]"))
        if roll < 0.58 and depth == 0:
            return dice.choice(_LITERALS)
        if roll < 0.75 and self._number < RULES - 1:
            return f"r{dice.randrange(self._number + 1, RULES)}" + dice.choice(("", "", "[input.a]", ".b"))
        if roll < 0.86:
            return f"[{self.term(depth + 1)}, {self.term(depth + 1)}]"
        if roll < 0.9:
            return f'{{"b": {self.term(depth + 1)}}}'
        if roll < 0.95:
            return f"[w | some w in {self.term(depth + 1)}; w != {self.term(depth + 1)}]"
        return dice.choice(("count({})", "json.marshal({})", 'object.get({}, "b", "none")', "type_name({})")).format(
            dice.choice(_PATHS)
        )

    def _statement(self) -> str:
        dice, roll = self._dice, self._dice.random()
        if roll < 0.3:
            return self._bind("{name} := {term}")
        if roll < 0.4:
            return self._bind("some {name} in {term}")
        if roll < 0.47:
            return self._bind("[{name}, {name}_2] = {term}")
        if roll < 0.57 and self._number < RULES - 1:
            lent = f"r{dice.randrange(self._number + 1, RULES)}"
            return self._bind(f"{{name}} := {lent} with {dice.choice(_TARGETS)} as {{term}}")
        if roll < 0.7:
            return f"{dice.choice(_PATHS)} {dice.choice(('==', '!=', 'in', '<'))} {self.term()}"
        if roll < 0.85:
            return f"not {self.term()}" + dice.choice(
                ("", f" == {dice.choice(_PATHS)}", f" in {dice.choice(_PATHS)}")
            )
        if roll < 0.9:
            return f"every e in {dice.choice(_PATHS)} {{ e != {self.term()} }}"
        return self.term()

    def _bind(self, form: str) -> str:
        term = self.term()
        self._names += 1
        name = f"x{self._number}_{self._names}"
        self._known.append(name)
        return form.format(name=name, term=term)
