"""A bundle on its way to deciding: opened, compiled with the shipped rules, tested, asked its canaries.

Everything here blocks: call it in a thread. Nothing of it touches the policy that decides; what fails, fails with
every reason, ``file:line: message``, and leaves nothing behind.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sidecar.adapters.policy.embedded import Policy
from sidecar.adapters.policy.files import library_directory, read_policy
from sidecar.adapters.policy.library import LOAD_SECONDS, About, Room, Status, library
from sidecar.config.decision_cases import BASE, Case, Difference, differences, read_cases
from sidecar.config.policy_answers import answer_faults
from sidecar.config.schemas import schema
from sidecar.errors import Misconfigured, Reason

RSA_BITS: Final = 2048
# A canary may take this many times what a call's decision may: the machine compiles at the same moment.
PATIENCE: Final = 10
_SHOWN: Final = 20  # differences in one refusal


class Terms(NamedTuple):
    """What a bundle must keep. With ``keys`` it must be signed by one of them, for exactly ``scope``.

    A key is an algorithm (RS256 or ES256) and the file of a public key, read for each bundle anew.
    """

    keys: Mapping[str, tuple[str, Path]]
    scope: str
    with_library: bool
    test_seconds: float
    canaries: Path | None
    tenant: str
    budget_seconds: float  # of a decision


class Opened:
    """A bundle whose bounds, signature and manifest are good; ``about`` may be believed."""

    def __init__(self, terms: Terms, archive: bytes, *, again: bool = False) -> None:
        engine = library()
        opened = engine.open_bundle(_request(terms, again), archive)
        self.about: About = opened.about
        self._engine = engine
        self._test_seconds = terms.test_seconds
        self._handle = opened.handle
        weakref.finalize(self, engine.close_bundle, opened.handle)

    def load(self) -> tuple[Policy, int]:
        """Compile and test; the policy, and how many of its own tests passed. Once only.

        The rules' literal answers are held to the answer's form, as ``sidecar policy check`` does: a misspelt member
        would otherwise deny a call at run time.
        """
        reasons = [fault.reason() for fault in answer_faults(self._engine.asked_of_bundle(self._handle))]
        if reasons:
            raise Misconfigured(f"the bundle is refused: {reasons[0].message}", reasons)
        loaded = self._engine.load_bundle(self._handle, LOAD_SECONDS + self._test_seconds)
        return Policy(self._engine, loaded, self.about.digest), loaded.tested.passed


def read_key(algorithm: str, path: Path) -> str:
    """The text of a PEM file with a public key for ``algorithm``. Raises ``Misconfigured`` for any other content."""
    try:
        content = path.read_bytes()
        key = load_pem_public_key(content)
    except OSError as error:
        raise _bad_key(f"the key {path} cannot be read: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _bad_key(f"{path} is no PEM file of a public key (BEGIN PUBLIC KEY)") from None
    if algorithm == "RS256" and not (isinstance(key, RSAPublicKey) and key.key_size >= RSA_BITS):
        raise _bad_key(f"{path}: RS256 needs an RSA key of at least {RSA_BITS} bits")
    if algorithm == "ES256" and not (isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)):
        raise _bad_key(f"{path}: ES256 needs a key on the curve P-256")
    return content.decode()


def _bad_key(message: str) -> Misconfigured:
    return Misconfigured(message, [Reason("unusable_key", message)])


def ask_canaries(policy: Policy, terms: Terms) -> int:
    """Ask a policy what it must answer; how many cases there were.

    Every policy must answer a plain call with a decision, so that undefined is not found out by an agent. Raises
    ``Misconfigured`` with a reason for every answer that is not as expected.
    """
    room = Room()
    plain = Case(name="a plain call", source="", input=BASE, allow=False)
    reasons = [
        Reason(
            "no_decision",
            f"a plain call gets no decision: {difference.got}; give data.sidecar.authz.decision a default",
        )
        for difference in _asked(policy, plain, terms, room)
        if difference.field == "decision"
    ]
    cases = read_cases(_read(terms.canaries), terms.canaries.name, terms.tenant) if terms.canaries else ()
    for case in cases:
        reasons += [
            Reason(
                "canary_failed",
                f"{case.source}: {case.name}: {difference.field} is {difference.got}, expected {difference.expected}",
            )
            for difference in _asked(policy, case, terms, room)
        ]
        if len(reasons) >= _SHOWN:
            break
    if reasons:
        raise Misconfigured(f"the bundle is refused: {reasons[0].message}", reasons)
    return len(cases)


def _asked(policy: Policy, case: Case, terms: Terms, room: Room) -> tuple[Difference, ...]:
    deadline = time.monotonic() + terms.budget_seconds * PATIENCE
    status, answer = policy.decide(case.document(), deadline, room)
    expected = "allow" if case.allow else "deny"
    if status == Status.TIMEOUT:
        return (Difference("decision", expected, "not in time"),)
    if status == Status.FAILED:
        return (Difference("decision", expected, answer.decode(errors="replace")),)
    return differences(case, answer if status == Status.ANSWERED else None)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"the canaries {path} cannot be read: {error.strerror}"
        raise Misconfigured(message, [Reason("canaries_unreadable", message)]) from None


def _request(terms: Terms, again: bool) -> bytes:
    shipped = read_policy(library_directory(), with_library=False).modules if terms.with_library else {}
    return msgspec.json.encode(
        {
            "modules": {f"library/{name}": text for name, text in shipped.items()},
            "keys": {
                name: {"algorithm": algorithm, "pem": read_key(algorithm, path)}
                for name, (algorithm, path) in terms.keys.items()
            },
            "scope": terms.scope,
            "schema": schema("decision-input"),
            # what was active before has passed them
            "test_milliseconds": 0 if again else max(1, int(terms.test_seconds * 1000)),
        }
    )
