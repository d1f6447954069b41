"""``aws://name#field``: AWS Secrets Manager, by stage or version.

Without ``@`` a reference names the version labelled AWSCURRENT; ``@AWSPREVIOUS``, ``@AWSPENDING`` and any other label
name that stage, and ``@<version id>`` that version. A secret that is a JSON object has its members as fields; any
other text is the one value of a reference without ``#field``.

Who the sidecar is comes from AWS's own chain (the pod's role, the instance, the environment). Nothing else does: no
endpoint and no proxy is taken from the environment. botocore is synchronous and runs in threads.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import botocore.session
from botocore import awsrequest
from botocore.config import Config as ClientConfig

from sidecar.adapters.credentials.aws.errors import understood
from sidecar.adapters.credentials.aws.secret import CURRENT, AwsSecret, paged, read_state, secrets_of
from sidecar.adapters.credentials.remote.connections import check_whole, watched
from sidecar.adapters.credentials.remote.store import LISTED, Fetched, Loan, StoreFailure
from sidecar.config.remotes import AwsSection
from sidecar.model.credential import About, Reference, Terms
from sidecar.model.secret import Secret
from sidecar.rules.references import is_path

# For the library as a whole: the chain that finds who we are asks other services, over connections of its own.
awsrequest.AWSHTTPConnectionPool.ConnectionCls = watched(awsrequest.AWSHTTPConnection)
awsrequest.AWSHTTPSConnectionPool.ConnectionCls = watched(awsrequest.AWSHTTPSConnection)

_VERSION_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class SecretsManager:
    """A ``KeptStore``. Raises ``Misconfigured`` for nothing: what is wrong is said when a secret is asked for."""

    def __init__(self, section: AwsSection, tenant: str, directory: Path) -> None:
        self._section = section
        self._tenant = tenant
        # At DEBUG it logs whole answers, secrets and all, whatever level our own log has.
        logging.getLogger("botocore").setLevel(logging.INFO)
        self._client: Any = botocore.session.get_session().create_client(
            "secretsmanager",
            region_name=section.region,
            endpoint_url=section.endpoint,
            verify=str(directory / section.ca_file) if section.ca_file else True,
            config=ClientConfig(
                connect_timeout=section.timeout_seconds,
                read_timeout=section.timeout_seconds,
                retries={"total_max_attempts": 2, "mode": "standard"},
                proxies={},
                ignore_configured_endpoint_urls=True,
            ),
        )
        self._client.meta.events.register("response-received.secrets-manager", _came)

    def fetch(self, reference: Reference) -> Fetched:
        """The secret's version that the reference names. Raises ``StoreFailure``."""
        name = self._named(reference)
        missing = "no_such_secret" if reference.version is None else "no_such_version"
        with understood(missing):
            answer = self._client.get_secret_value(SecretId=name, **_which(reference.version))
            version = str(answer["VersionId"])  # first: a cut answer says nothing about the secret
            if "SecretBinary" in answer:
                raise StoreFailure("unusable_secret")
            state = read_state(self._client.describe_secret(SecretId=name))  # after the value: terms come before one
            terms = state.terms(version)
            seconds = self._section.max_age_seconds
            return Fetched(secrets_of(answer["SecretString"]), version, seconds, None, terms.kind, terms.expires)

    def renew(self, _loan: Loan) -> float:
        """Nothing is lent."""
        raise StoreFailure("lease_lost")

    def give_back(self, _loan: Loan) -> None:
        """Nothing is lent."""

    def about(self, reference: Reference) -> About:
        """What may be shown of a secret."""
        return self._kept(reference).about()

    def list(self) -> Sequence[About]:
        """What may be shown of every secret that the tenant may name. Raises ``StoreFailure("too_many")``."""
        found: dict[str, About] = {}
        for root in self._section.roots(self._tenant):
            asked = {"Filters": [{"Key": "name", "Values": [root]}]}  # names that begin so, and more
            with understood("no_such_secret"):
                for listed in paged(self._client.list_secrets, asked, "SecretList"):
                    name = str(listed["Name"])
                    if name in found or not self._section.allows(name, self._tenant) or not is_path(name):
                        continue
                    about = self._kept(Reference("aws", name)).about_listed(listed)
                    if about is not None:
                        found[name] = about
                    if len(found) > LISTED:
                        raise StoreFailure("too_many")
        return [found[name] for name in sorted(found)]

    def write(self, reference: Reference, secret: Secret, terms: Terms, expected: str | None) -> About:
        """Store a value over version ``expected``, or where there is none."""
        return self._kept(reference).write(secret, terms, expected)

    def amend(self, reference: Reference, terms: Terms, expected: str) -> About:
        """Give a value other terms."""
        return self._kept(reference).amend(terms, expected)

    def delete(self, reference: Reference, expected: str) -> None:
        """Delete a secret, or one of its fields."""
        self._kept(reference).delete(expected)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _kept(self, reference: Reference) -> AwsSecret:
        return AwsSecret(self._client, self._named(reference), reference)

    def _named(self, reference: Reference) -> str:
        if reference.scheme != "aws" or not self._section.allows(reference.locator, self._tenant):
            raise StoreFailure("other_tenant")
        return reference.locator


def _came(response_dict: Mapping[str, Any] | None = None, **_: Any) -> None:
    """The library compares no lengths, and takes JSON that it cannot read for an empty object."""
    if response_dict is not None:
        check_whole(response_dict["status_code"], response_dict["headers"], len(response_dict["body"]))


def _which(version: str | None) -> dict[str, str]:
    if version is None:
        return {"VersionStage": CURRENT}
    return {"VersionId": version} if _VERSION_ID.fullmatch(version) else {"VersionStage": version}
