"""Putting a policy into an OPA server, and asking what it holds.

OPA changes one module at a time, and each change decides at once. So a push first withdraws the revision: a sidecar
refuses decisions that name none, and no mixture of two policies ever decides. Then come the modules, in an order that
compiles, then the data; everything is read back, and the revision is written last. Where OPA refuses a module, all is
brought back as it was, the old revision last. What can be neither finished nor brought back stays without a revision,
so it decides nothing, and that is said.

The revision is kept where OPA keeps those of bundles (``data.system.bundles``), so OPA names it in every answer and
every decision log. It is the one that the embedded engine has for the same folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import Struct
from opa_client.opa import OpaClient

from sidecar.adapters.policy import server_answers as answers
from sidecar.adapters.policy.files import PolicyFiles, revision_of
from sidecar.adapters.policy.remote_client import PREFIX, Rejected, ask, found, unreachable
from sidecar.errors import Misconfigured, Unavailable

MARK: Final = "sidecar-push"  # the bundle's name that our revision is kept under
_MARK_PATH: Final = f"system/bundles/{MARK}"
_HALF_WAY: Final = (
    "it is left without a revision, so sidecars get no decision from it until a push succeeds: run this again"
)


class _Manifest(Struct, frozen=True):
    revision: str = ""
    roots: tuple[str, ...] = ()  # it owns none: OPA keeps everybody from writing to what a bundle owns, us included


class _Mark(Struct, frozen=True):
    """What the last push left: its revision, empty while it is withdrawn, and the top names of its data."""

    manifest: _Manifest = _Manifest()
    data: tuple[str, ...] = ()


class Pushed(NamedTuple):
    """The revision that decides now, and by file name what a module is: new, changed, unchanged or removed."""

    revision: str
    modules: dict[str, str]


class Holding(NamedTuple):
    """What a server holds. ``problem`` is why a sidecar would not let it decide; None where it would."""

    problem: str | None
    revision: str | None
    bundles: dict[str, str]  # revision by name
    modules: tuple[str, ...]


class RemoteOpa:
    """One server's management API. Every method blocks."""

    def __init__(self, client: OpaClient) -> None:
        self._client = client

    def push(self, files: PolicyFiles) -> Pushed:
        """Make ``files`` the whole policy, or leave the old one. The caller has compiled them.

        Raises ``Misconfigured`` where the server refuses, and the old policy decides again; ``Unavailable`` where it
        cannot be reached, or stopped answering half-way, and nothing decides.
        """
        odd = [name for name, value in files.data.items() if not isinstance(value, dict)]
        if odd:
            raise Misconfigured(
                f"data.{odd[0]} is not an object: a server takes whole objects at the top of its data"
            )
        wanted = {PREFIX + name: text for name, text in files.modules.items()}
        try:
            before, mark = self._modules(), self._mark()
        except Rejected as refusal:
            raise _refused(refusal) from None
        try:
            self._withdraw(mark)
            self._replace(before, wanted, mark, files.data)
            self._write_mark(revision_of(files), sorted(files.data))
            revision = self._revision()
        except (Rejected, answers.Unusable, Unavailable) as failure:
            told = failure.detail if isinstance(failure, Unavailable) else str(failure)
            raise Unavailable("policy_unavailable", f"{told.removesuffix('.')}; {_HALF_WAY}") from None
        return Pushed(revision, _told(before, wanted))

    def holding(self, maximum_age: float) -> Holding:
        """What the server holds, and whether a sidecar would let it decide. Raises ``Unavailable``."""
        client = self._client
        try:
            names = ask(client.get_policies_list)
            bundles = found(client, "system/bundles") or {}
        except Rejected as refusal:
            raise unreachable(refusal.message) from None
        revisions = {name: str(bundle.get("manifest", {}).get("revision", "")) for name, bundle in bundles.items()}
        status, revision, problem = _status(client), None, None
        try:
            if not client.check_health(query={"bundles": "true"}):
                raise answers.Unusable("its health is not good")
            if status is None:
                raise answers.Unusable("it tells no status: start OPA with --set status.console=true")
            answers.check_status(msgspec.json.encode(status), None, maximum_age)
            revision = self._revision()
        except answers.Unusable as fault:
            problem = str(fault)
        return Holding(problem, revision, revisions, tuple(sorted(names)))

    def _withdraw(self, mark: _Mark) -> None:
        try:
            self._write_mark("", mark.data)
        except Rejected as refusal:
            raise _refused(refusal) from None

    def _replace(
        self, before: Mapping[str, str], wanted: Mapping[str, str], mark: _Mark, data: Mapping[str, Any]
    ) -> None:
        """From ``before`` to ``wanted``. Raises ``Misconfigured`` once all is as before; all else is half-way."""
        changes: dict[str, str | None] = {name: text for name, text in wanted.items() if before.get(name) != text}
        changes |= {name: None for name in before if name not in wanted}
        names = sorted(data)
        try:
            self._change_to(changes)
            for name in names[:1]:  # the first is all or nothing; after it there is no way back
                self._put_data(name, data[name])
        except Rejected as refusal:
            self._change_to({name: before.get(name) for name in changes})
            self._write_mark(mark.manifest.revision, mark.data)
            decides = "the old policy decides" if mark.manifest.revision else "no policy was there before"
            told = f"the server refused the policy, {decides}: {refusal.message}"
            raise Misconfigured(told, refusal.errors) from None
        for name in names[1:]:
            self._put_data(name, data[name])
        for name in set(mark.data) - set(names):
            ask(self._client.delete_data, quote(name))
        if self._modules() != wanted:
            raise Rejected("conflict", "the server holds other modules than were pushed: another push is under way")

    def _change_to(self, changes: Mapping[str, str | None]) -> None:
        """Put (text) and delete (None) modules; where old ones keep new ones out, take the old ones out first."""
        there = self._modules()
        try:
            self._apply(changes, there)
        except Rejected:
            self._apply(dict.fromkeys(changes), there)
            self._apply(changes, {})

    def _apply(self, changes: Mapping[str, str | None], there: Mapping[str, str]) -> None:
        """What is not ``there`` already, again and again while that gets further: each state must compile.

        Raises ``Rejected`` with what the server said of all that is left.
        """
        left = {name: text for name, text in changes.items() if there.get(name) != text}
        while left:
            refusals: list[Rejected] = []
            before = len(left)
            for name, text in tuple(left.items()):
                try:
                    self._change(name, text)
                    del left[name]
                except Rejected as refusal:
                    refusals.append(refusal)
            if len(left) == before:
                errors = tuple(error for refusal in refusals for error in refusal.errors)
                raise Rejected(refusals[0].code, refusals[0].message, errors)

    def _change(self, name: str, text: str | None) -> None:
        if text is not None:
            ask(self._client.update_policy_from_string, text, quote(name), rego_compat=False)
            return
        try:
            ask(self._client.delete_policy, quote(name))
        except Rejected as refusal:
            if refusal.code != "resource_not_found":
                raise

    def _put_data(self, name: str, value: Mapping[str, Any]) -> None:
        ask(self._client.update_or_create_data, value, quote(name))

    def _modules(self) -> dict[str, str]:
        """Our modules in the server, text by id."""
        names = [name for name in ask(self._client.get_policies_list) if name.startswith(PREFIX)]
        return {name: ask(self._text, name) for name in names}

    def _text(self, name: str) -> str:
        return str(self._client.get_policy(quote(name))["result"]["raw"])

    def _mark(self) -> _Mark:
        held = found(self._client, _MARK_PATH)
        try:
            return _Mark() if held is None else msgspec.convert(held, _Mark)
        except msgspec.ValidationError:
            raise unreachable(f"data.system.bundles.{MARK} is not what a push leaves; delete it") from None

    def _write_mark(self, revision: str, data: Sequence[str]) -> None:
        mark = msgspec.to_builtins(_Mark(_Manifest(revision), tuple(data)))
        ask(self._client.update_or_create_data, mark, _MARK_PATH)

    def _revision(self) -> str:
        """What a sidecar would learn. Raises ``server_answers.Unusable``."""
        said = ask(self._client.query_rule, {}, "sidecar.authz", "revision", {"provenance": "true"})
        return answers.decided(msgspec.json.encode(said))[0]


def _status(client: OpaClient) -> Any:
    """The server's status; None where it tells none."""
    try:
        return ask(client.get_status)
    except Unavailable:
        return None


def _refused(refusal: Rejected) -> Misconfigured:
    owned = "; it takes its policy from bundles, so publish a new one" if "owned by bundle" in refusal.message else ""
    return Misconfigured(f"the server refuses a push: {refusal.message}{owned}", refusal.errors)


def _told(before: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """What became of each module, by file name."""
    told = {}
    for name in sorted(before.keys() | wanted.keys()):
        old, new = before.get(name), wanted.get(name)
        what = "unchanged" if old == new else "new" if old is None else "removed" if new is None else "changed"
        told[name.removeprefix(PREFIX)] = what
    return told
