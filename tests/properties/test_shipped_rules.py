"""The shipped rules beside a model of what the README says of them, over grants that are right, odd and wrong.

Every sample is a tenant of its own, so that one policy holds them all.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.adapters.policy.files import read_policy, source_of
from sidecar.config.decision_cases import complete
from sidecar.pipeline.facts import document
from tests.rego.embedded import Asked

SAMPLES: Final = 3000
ALLOWED: Final = 300  # at least so many: a test in which all is denied proves nothing
DAYS: Final = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
CLOCK: Final = re.compile(r"[0-9]{2}:[0-9]{2}", re.ASCII)
MINUTE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}Z", re.ASCII)
LIMITS: Final = {"planes", "weekdays", "hours", "until"}

Json = dict[str, Any]


def covers(grant: Any, call: Json) -> bool:
    """Whether a grant, in either form, covers a call."""
    connector, operation = call["connector"]["id"], call["operation"]["id"]
    if isinstance(grant, str):
        return call["effect"] == "read" and grant in (f"{connector}/{operation}", f"{connector}/*")
    if not isinstance(grant, dict) or not grant.keys() <= {"connector", "operations", "effects", *LIMITS}:
        return False
    named = grant.get("operations")
    return bool(
        grant.get("connector") == connector
        and (named == "*" or among(operation, named))
        and among(call["effect"], grant.get("effects", ["read"]))
        and ("planes" not in grant or among(call["plane"], grant["planes"]))
        and holds(grant, call["time"])
    )


def holds(grant: Json, time: Json) -> bool:
    clock = f"{time['hour']:02}:{time['minute']:02}"
    return (
        ("weekdays" not in grant or among(DAYS[time["weekday"]], grant["weekdays"]))
        and ("hours" not in grant or within(grant["hours"], clock))
        and ("until" not in grant or before(f"{time['date']}T{clock}Z", grant["until"]))
    )


def within(hours: Any, clock: str) -> bool:
    if not isinstance(hours, list) or len(hours) != 2 or not all(written(CLOCK, hour) for hour in hours):
        return False
    start, end = map(str, hours)
    return start <= clock < end if start <= end else clock >= start or clock < end


def before(now: str, until: Any) -> bool:
    return written(MINUTE, until) and now < str(until)


def written(form: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def among(item: Any, values: Any) -> bool:
    return isinstance(values, list) and item in values


def held(by: Any, call: Json) -> Iterator[Any]:
    """What the caller's own lists and those of its roles hold."""
    who = call["principal"]
    lists = [by.get("principals", {}).get(who["id"]), *(by.get("roles", {}).get(role) for role in who["roles"])]
    return (item for one in lists if isinstance(one, list) for item in one)


def broken(entry: Any, call: Json) -> bool:
    """Whether a break-glass entry covers a call."""
    if not isinstance(entry, dict) or "until" not in entry:
        return False
    who = call["principal"]
    concerned = among(who["id"], entry.get("principals")) or any(
        among(role, entry.get("roles")) for role in who["roles"]
    )
    grant = {key: value for key, value in entry.items() if key not in {"principals", "roles", "why"}}
    return concerned and covers(grant, call)


def allowed(data: Json, call: Json) -> bool:
    """What the decision must be."""
    if call["effect"] != "read" and call["plane"] is not None:
        return False
    classes = {part["labels"].get("data_class", "public") for part in (call["connector"], call["operation"])}
    if classes - {"public"} - set(held(data["clearances"], call)):
        return False
    return any(covers(grant, call) for grant in held(data["grants"], call)) or any(
        broken(entry, call) for entry in data["break_glass"]
    )


class Made:
    """Random data and calls; few names, so that they meet, and a principal that is called like a role."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def any(self, *choices: Any) -> Any:
        return self.dice.choice(choices)

    def some(self, *choices: Any) -> list[Any]:
        return [one for one in choices if self.dice.random() < 0.6]

    def odd(self, good: Any) -> Any:
        """Mostly what is good, and sometimes what somebody wrote by mistake."""
        return good if self.dice.random() < 0.9 else self.any(None, False, True, 0, "", "*", "read", [], [None], {})

    def clock(self) -> Any:
        return self.any(
            *("00:00", "06:00", "12:00", "12:01", "22:00", "24:00", "23:59"),
            *("9:00", "9:00 ", "12.00", "1200h", "aa:aa", "\uff112:00", "12:00:00"),
        )

    def until(self) -> Any:
        return self.any(
            *("2030-01-09T12:00Z", "2030-01-09T12:01Z", "2030-01-10T00:00Z", "2031-01-01T00:00Z"),
            *(
                "2029-12-31T23:59Z",
                "2031-01-01",
                "31.12.2031 00:00Z",
                "2031-01-01t00:00z",
                "never",
                "2031-1-01T000:00Z",
            ),
        )

    def grant(self) -> Any:
        if self.dice.random() < 0.2:
            return self.any("c/get", "c/*", "d/get", "c/", "*/*", "*", "c/get ", "C/get", "c/g\u0435t")
        made = {
            "connector": self.odd(self.any("c", "c", "c", "d")),
            "operations": self.odd(self.any("*", ["get"], ["get", "put"], ["*"], "get")),
            "effects": self.odd(self.some("read", "write")),
            "planes": self.odd(self.some("p", "q")),
            "weekdays": self.odd(self.some(*DAYS)),
            "hours": self.odd([self.clock(), self.clock()]),
            "until": self.odd(self.until()),
            "hour": ["00:00", "24:00"],  # misspelt
        }
        keep = {"connector": 0.98, "operations": 0.98, "effects": 0.4, "hour": 0.03}
        return {name: value for name, value in made.items() if self.dice.random() < keep.get(name, 0.2)}

    def emergency(self) -> Json:
        more = {"until": self.odd(self.until()), "principals": ["a"], "roles": self.some("a", "r"), "why": "w"}
        entry = self.grant()
        kept = {name: value for name, value in more.items() if self.dice.random() < 0.8}
        return kept | entry if isinstance(entry, dict) else kept

    def by_whom(self, one: Any) -> Json:
        return {
            "principals": {"a": self.odd([one() for _ in range(self.any(0, 1, 2, 3))]), "": [one()]},
            "roles": {name: [one()] for name in self.some("a", "r")},
        }

    def data(self) -> Json:
        return {
            "grants": self.by_whom(self.grant),
            "clearances": self.by_whom(lambda: self.any("pii", "secret", "PII", "")),
            "break_glass": [self.emergency() for _ in range(self.any(0, 0, 1))],
        }

    def call(self, tenant: str) -> Json:
        effect = self.any("read", "read", "write")
        labels = self.any({}, {}, {}, {"data_class": "public"}, {"data_class": "pii"}, {"data_class": ""})
        return {
            "tenant": tenant,
            "principal": {"id": self.any("a", "a", "b"), "roles": self.any([], ["r"], ["a"], ["r", "a"])},
            "effect": effect,
            "plane": self.any(None, None, "p"),
            "connector": {"id": "c", "labels": labels},
            "operation": {"id": self.any("get", "put"), "labels": self.any({}, {}, labels)},
            "time": {
                "hour": self.any(0, 5, 6, 12, 23),
                "minute": self.any(0, 1, 59),
                "weekday": self.dice.randrange(7),
                "date": self.any("2030-01-09", "2029-12-31"),
            },
        }


@pytest.mark.parametrize("seed", [1, 2])
def test_inv3_the_shipped_rules_allow_what_the_readme_says_and_nothing_else(tmp_path: Path, seed: int) -> None:
    made = Made(random.Random(seed))
    samples = {f"t{number}": made.data() for number in range(SAMPLES)}
    calls = {tenant: made.call(tenant) for tenant in samples}
    by_kind = {kind: {tenant: data[kind] for tenant, data in samples.items()} for kind in samples["t0"]}
    (tmp_path / "data.json").write_text(json.dumps({"sidecar": by_kind}))
    policy = Asked(source_of(read_policy(tmp_path)))
    wrong, count = [], 0
    for tenant, call in calls.items():
        verdict = policy.evaluate(document(complete(call)))
        assert verdict is not None and verdict.answer is not None, (samples[tenant], call)
        decision, expected = json.loads(verdict.answer), allowed(samples[tenant], call)
        count += expected
        if decision["allow"] is not expected or (not expected and not decision["reasons"]):
            wrong.append((samples[tenant], call, decision))
    policy.release()
    assert wrong == []
    assert count > ALLOWED
