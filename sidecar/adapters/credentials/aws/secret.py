"""One secret of AWS Secrets Manager as administrators see it: versions and stages, terms in its tags.

A new value is staged under an id that was drawn here (the ``ClientRequestToken``: an exchange that is repeated makes
one version), tagged with its terms, and only then labelled AWSCURRENT, in one step that names the version it is over
and labels that AWSPREVIOUS. So nothing is in use before all of it is there, and who comes second is told. A deleted
secret can be restored by AWS's own means for 30 days; its name is taken until then.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sidecar.adapters.credentials.aws.errors import understood
from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.adapters.credentials.remote.terms import changed, found
from sidecar.adapters.credentials.remote.values import field_secrets
from sidecar.errors import Reason, Refused
from sidecar.model.credential import About, Reference, Terms
from sidecar.model.secret import Secret
from sidecar.rules.credential_terms import check_version

CURRENT: Final = "AWSCURRENT"
PREVIOUS: Final = "AWSPREVIOUS"
STAGED: Final = "SIDECARSTAGED"  # our own, so that a rotation of AWS's that is under way keeps AWSPENDING
RECOVERY_DAYS: Final = 30


class State(NamedTuple):
    """What AWS says of a secret without its value."""

    current: str | None
    previous: str | None
    leaving: bool  # it waits for its deletion
    created: str | None
    entries: Mapping[str, str]

    def terms(self, version: str) -> Terms:
        """Of one version."""
        return found(self.entries, version, [self.previous] if self.previous and version == self.current else [])


class AwsSecret:
    """Blocks; raises ``StoreFailure`` and ``Refused``."""

    def __init__(self, client: Any, name: str, reference: Reference) -> None:
        self._client = client
        self._name = name
        self._reference = reference

    def about(self) -> About:
        """Its current version. Raises ``StoreFailure("no_such_field")`` for a field that it has not."""
        state, current = self._there()
        if self._reference.field is not None and self._reference.field not in self._fields(current):
            raise StoreFailure("no_such_field")
        return self._about(state, current)

    def about_listed(self, listed: Mapping[str, Any]) -> About | None:
        """The same of a secret that was listed; None where it has no value yet.

        When the value was written is another question to AWS: it is asked where a rotation was promised.
        """
        state = read_state({**listed, "VersionIdsToStages": listed.get("SecretVersionsToStages")})
        if state.current is None:
            return None
        return self._about(state, state.current, listed=True)

    def write(self, secret: Secret, terms: Terms, expected: str | None) -> About:
        """A new current version; with a field, the others stay."""
        state = self._state()
        text, field = secret.reveal().decode(), self._reference.field
        if state is None:
            check_version(None, expected)
            self._create(text if field is None else json.dumps({field: text}), terms)
            return self.about()
        if state.leaving:
            raise StoreFailure("being_deleted")
        fields = self._fields(state.current) if state.current is not None else None
        if fields is None:
            check_version(None, expected)
            self._replace(state, text if field is None else json.dumps({field: text}), terms)
            return self.about()
        _check_shape(fields, field)
        check_version(state.current if (field or "") in fields else None, expected)
        self._replace(state, text if field is None else json.dumps({**fields, field: text}), terms)
        return self.about()

    def amend(self, terms: Terms, expected: str) -> About:
        """Other terms for the version ``expected``."""
        check_version(self.about().version, expected)
        state, _ = self._there()
        self._tag(state, expected, terms)
        about = self.about()
        check_version(about.version, expected)
        return about

    def delete(self, expected: str) -> None:
        """Without a field, or with the last one: the secret. Otherwise the field, in a new version."""
        check_version(self.about().version, expected)
        state, current = self._there()
        fields, field = self._fields(current), self._reference.field
        others = {name: value for name, value in fields.items() if name != field}
        if field is not None and others:
            self._replace(state._replace(current=expected), json.dumps(others), state.terms(expected))
            return
        with understood("no_such_secret"):
            self._client.delete_secret(SecretId=self._name, RecoveryWindowInDays=RECOVERY_DAYS)

    def _create(self, text: str, terms: Terms) -> None:
        _check_text(self._reference, text)
        token = str(uuid.uuid4())
        tags = [{"Key": name, "Value": value} for name, value in changed({}, token, terms, lambda _: False).items()]
        with understood(
            "no_such_secret", ResourceExistsException="version_conflict", InvalidRequestException="being_deleted"
        ):
            self._client.create_secret(Name=self._name, SecretString=text, ClientRequestToken=token, Tags=tags)

    def _replace(self, state: State, text: str, terms: Terms) -> None:
        """A new current version over ``state``'s."""
        _check_text(self._reference, text)
        token = str(uuid.uuid4())
        with understood("no_such_secret"):
            self._client.put_secret_value(
                SecretId=self._name, SecretString=text, ClientRequestToken=token, VersionStages=[STAGED]
            )
        self._tag(state, token, terms)
        over = {} if state.current is None else {"RemoveFromVersionId": state.current}
        try:
            with understood("version_conflict", InvalidParameterException="version_conflict"):
                self._client.update_secret_version_stage(
                    SecretId=self._name, VersionStage=CURRENT, MoveToVersionId=token, **over
                )
        finally:
            with suppress(StoreFailure), understood("no_such_secret"):  # a label too many does no harm
                self._client.update_secret_version_stage(
                    SecretId=self._name, VersionStage=STAGED, RemoveFromVersionId=token
                )

    def _tag(self, state: State, version: str, terms: Terms) -> None:
        kept = self._versions()
        texts = changed(state.entries, version, terms, lambda one: one != version and one not in kept)
        with understood("no_such_secret"):
            dropped = [name for name, text in texts.items() if not text]
            if dropped:
                self._client.untag_resource(SecretId=self._name, TagKeys=dropped)
            tags = [{"Key": name, "Value": text} for name, text in texts.items() if text]
            if tags:
                self._client.tag_resource(SecretId=self._name, Tags=tags)

    def _there(self) -> tuple[State, str]:
        state = self._state()
        if state is None or state.leaving or state.current is None:
            raise StoreFailure("no_such_secret")
        return state, state.current

    def _state(self) -> State | None:
        try:
            with understood("no_such_secret"):
                return read_state(self._client.describe_secret(SecretId=self._name))
        except StoreFailure as failure:
            if failure.code == "no_such_secret":
                return None
            raise

    def _about(self, state: State, current: str, *, listed: bool = False) -> About:
        try:
            terms = state.terms(current)
        except StoreFailure:  # what is said of its end cannot be read
            return About(reference=self._reference, kind=None, version=current, created=state.created, state="broken")
        undated = listed and terms.rotate_days is None
        return About(
            reference=self._reference,
            kind=terms.kind,
            version=current,
            created=state.created,
            updated=None if undated else self._versions().get(current),
            expires=terms.expires,
            rotate_days=terms.rotate_days,
        )

    def _versions(self) -> dict[str, str | None]:
        """When each version that there still is was made."""
        with understood("no_such_secret"):
            asked = {"SecretId": self._name, "IncludeDeprecated": True}
            listed = list(paged(self._client.list_secret_version_ids, asked, "Versions"))
        return {str(version["VersionId"]): _moment(version.get("CreatedDate")) for version in listed}

    def _fields(self, version: str) -> dict[str, Any]:
        """The members of a version; of a text that is no JSON object, itself as the member "".

        Raises ``StoreFailure("unusable_secret")`` for bytes.
        """
        with understood("version_conflict"):
            text = self._client.get_secret_value(SecretId=self._name, VersionId=version).get("SecretString")
        if text is None:
            raise StoreFailure("unusable_secret")
        return members(text)


def paged(ask: Callable[..., Any], asked: Mapping[str, Any], member: str) -> Iterator[Any]:
    """Every item of an answer that comes in pages."""
    token: str | None = None
    while True:
        page = ask(**asked, **({"NextToken": token} if token else {}))
        yield from page[member]
        token = page.get("NextToken")
        if not token:
            return


def read_state(described: Mapping[str, Any]) -> State:
    """An answer of DescribeSecret. Raises ``StoreFailure("store_failing")`` for one that describes nothing: where
    anything else answered for AWS, an end that was said would be none.
    """
    if "Name" not in described:
        raise StoreFailure("store_failing")
    stages: Mapping[str, list[str]] = described.get("VersionIdsToStages") or {}
    by_stage = {stage: version for version, names in stages.items() for stage in names}
    tags = {str(tag["Key"]): str(tag["Value"]) for tag in described.get("Tags") or ()}
    return State(
        current=by_stage.get(CURRENT),
        previous=by_stage.get(PREVIOUS),
        leaving=described.get("DeletedDate") is not None,
        created=_moment(described.get("CreatedDate")),
        entries=tags,
    )


def members(text: str) -> dict[str, Any]:
    """What a secret's text has: the members of a JSON object, or any other text as the one member ""."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    return document if isinstance(document, dict) else {"": text}


def secrets_of(text: str) -> dict[str, Secret]:
    """The same as secrets."""
    return field_secrets(members(text))


def _check_shape(fields: Mapping[str, Any], field: str | None) -> None:
    """Raises ``Refused`` where a change would silently do away with what is there."""
    if field is not None and "" in fields:
        raise _shape("the secret is one text: leave #field out, or store it under another name")
    if field is None and "" not in fields:
        raise _shape("the secret has fields: say which one, as in aws://name#field")


def _check_text(reference: Reference, text: str) -> None:
    if reference.field is None and "" not in members(text):
        raise _shape("a JSON object is a secret with fields: store each of them as aws://name#field")


def _shape(message: str) -> Refused:
    return Refused("invalid_payload", message, [Reason("fields", message)])


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
