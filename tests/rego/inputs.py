"""Random inputs for the policies beside, of which every member may be absent or of any type."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

import msgspec

# few values, so that inputs come again; of all types, so that those that look alike meet
SCALARS: Final[list[Any]] = ["x", "y", "", "1", 1, 1.0, 0, -0.0, True, False, None, 2.5]
encode = msgspec.json.Encoder(order="deterministic").encode


def value(dice: random.Random, depth: int = 0) -> Any:
    """Often "x" or "y", sometimes a value of any other kind."""
    roll = dice.random()
    if roll < 0.55:
        return dice.choice(("x", "y"))
    if roll < 0.85 or depth > 3:
        return dice.choice(SCALARS)
    if roll < 0.9:
        return [value(dice, depth + 1) for _ in range(dice.randrange(3))]
    return part(dice, depth + 1)


def part(dice: random.Random, depth: int = 0) -> dict[str, Any]:
    """An object whose members may each be absent."""
    return {name: value(dice, depth + 1) for name in ("b", "c", "d") if dice.random() < 0.5}


def make_input(dice: random.Random) -> dict[str, Any]:
    """Members a to c are values, o is mostly an object, l mostly a list."""
    made: dict[str, Any] = {name: value(dice) for name in ("a", "b", "c") if dice.random() < 0.85}
    if dice.random() < 0.9:
        made["o"] = part(dice) if dice.random() < 0.9 else value(dice)
    if dice.random() < 0.9:
        made["l"] = [value(dice, 2) for _ in range(dice.randrange(3))] if dice.random() < 0.9 else value(dice)
    if dice.random() < 0.3:
        made |= {"k": dice.choice("bc"), "odd": {"é": value(dice), 'quo"te': value(dice)}, "": value(dice)}
    return made


def change(made: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """The same input but for one member, which may go, come or differ; the member may be of a part."""
    changed, name = dict(made), dice.choice(("a", "b", "c", "o", "l", "tenant"))
    inner = changed.get(name)
    if isinstance(inner, dict) and dice.random() < 0.8:
        changed[name] = change(inner, dice)
    elif dice.random() < 0.3:
        changed.pop(name, None)
    else:
        changed[name] = value(dice)
    return changed


def inputs(dice: random.Random, known: int, count: int) -> Iterator[bytes]:
    """``count`` documents: ``known`` inputs again and again, as agents ask, and others that differ in one member.

    ``noise``, which no policy reads, never comes twice.
    """
    some = [make_input(dice) for _ in range(known)]
    for number in range(count):
        one = dice.choice(some)
        yield encode((one if dice.random() < 0.7 else change(one, dice)) | {"noise": number})
