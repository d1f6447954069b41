"""``aws://name#field``: AWS Secrets Manager, by stage or version.

Without ``@`` a reference names the version labelled AWSCURRENT; ``@AWSPREVIOUS``, ``@AWSPENDING`` and any other label
name that stage, and ``@<version id>`` that version. A secret that is a JSON object has its members as fields; any
other text is the one value of a reference without ``#field``.

Who the sidecar is comes from AWS's own chain (the pod's role, the instance, the environment). Nothing else does: no
endpoint and no proxy is taken from the environment. botocore is synchronous and runs in threads.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import botocore.session
from botocore import awsrequest, exceptions
from botocore.config import Config as ClientConfig

from sidecar.adapters.credentials.exchanges import watched
from sidecar.adapters.credentials.remote import Fetched, Loan, StoreFailure
from sidecar.adapters.credentials.values import field_secrets
from sidecar.config.remotes import AwsSection
from sidecar.model.credential import Reference
from sidecar.model.secret import Secret

# For the library as a whole: the chain that finds who we are asks other services, over connections of its own.
awsrequest.AWSHTTPConnectionPool.ConnectionCls = watched(awsrequest.AWSHTTPConnection)
awsrequest.AWSHTTPSConnectionPool.ConnectionCls = watched(awsrequest.AWSHTTPSConnection)

CURRENT: Final = "AWSCURRENT"
PENDING: Final = "AWSPENDING"
_VERSION_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DENIED: Final = frozenset({"AccessDeniedException", "AccessDenied"})
_LOGIN: Final = frozenset(
    {
        *("UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException", "ExpiredToken"),
        *("InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken", "OptInRequired"),
    }
)
_GONE: Final = frozenset({"ResourceNotFoundException", "InvalidRequestException"})  # the latter: it is being deleted
_ERRORS: Final[tuple[tuple[type[Exception], str], ...]] = (  # the most particular first
    (exceptions.NoCredentialsError, "store_login_refused"),
    (exceptions.PartialCredentialsError, "store_login_refused"),
    (exceptions.CredentialRetrievalError, "store_login_refused"),
    (exceptions.SSLError, "store_untrusted"),
    (exceptions.ReadTimeoutError, "store_slow"),
    (exceptions.ConnectTimeoutError, "store_slow"),
    (exceptions.ConnectionError, "store_unreachable"),
    (exceptions.HTTPClientError, "store_unreachable"),
    (exceptions.BotoCoreError, "store_failing"),
    (KeyError, "store_failing"),  # an answer that is not AWS's
)


class SecretsManager:
    """A ``Store``. Raises ``Misconfigured`` for nothing: what is wrong is said when a secret is asked for."""

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

    def fetch(self, reference: Reference) -> Fetched:
        """The secret's version that the reference names. Raises ``StoreFailure``."""
        name = self._named(reference)
        missing = "no_such_secret" if reference.version is None else "no_such_version"
        with _understood(missing):
            answer = self._client.get_secret_value(SecretId=name, **_which(reference.version))
            version = str(answer["VersionId"])  # first: a cut answer says nothing about the secret
            if "SecretBinary" in answer:
                raise StoreFailure("unusable_secret")
            return Fetched(_fields(answer["SecretString"]), version, self._section.max_age_seconds)

    def renew(self, _loan: Loan) -> float:
        """Nothing is lent."""
        raise StoreFailure("lease_lost")

    def give_back(self, _loan: Loan) -> None:
        """Nothing is lent."""

    def put(self, reference: Reference, secret: Secret, expected: str) -> str:
        """Rotate: store ``secret`` as a new version, then move AWSCURRENT to it from version ``expected``; its id.

        With a ``#field`` the other fields of the expected version stay. AWS labels the expected version AWSPREVIOUS
        in the same step. Raises ``StoreFailure("version_conflict")`` where another version is current already; the
        new one is then left without the label, and unused.
        """
        name = self._named(reference)
        with _understood("no_such_secret"):
            text = secret.reveal().decode()
            if reference.field is not None:
                before = self._client.get_secret_value(SecretId=name, VersionId=expected)["SecretString"]
                text = json.dumps({**json.loads(before), reference.field: text})
            made = self._client.put_secret_value(SecretId=name, SecretString=text, VersionStages=[PENDING])
        version = str(made["VersionId"])
        with _understood("version_conflict", InvalidParameterException="version_conflict"):
            self._client.update_secret_version_stage(
                SecretId=name, VersionStage=CURRENT, MoveToVersionId=version, RemoveFromVersionId=expected
            )
        return version

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _named(self, reference: Reference) -> str:
        if reference.scheme != "aws" or not self._section.allows(reference.locator, self._tenant):
            raise StoreFailure("other_tenant")
        return reference.locator


def _which(version: str | None) -> dict[str, str]:
    if version is None:
        return {"VersionStage": CURRENT}
    return {"VersionId": version} if _VERSION_ID.fullmatch(version) else {"VersionStage": version}


def _fields(text: str) -> dict[str, Secret]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    return field_secrets(document if isinstance(document, dict) else {"": text})


@contextmanager
def _understood(missing: str, **over: str) -> Iterator[None]:
    """Raise what botocore does as a ``StoreFailure``; its texts quote requests, so none is kept."""
    try:
        yield
    except StoreFailure:
        raise
    except exceptions.ClientError as error:
        named = str(error.response.get("Error", {}).get("Code", ""))
        raise StoreFailure(over.get(named) or _code(named, missing)) from None
    except Exception as error:
        code = next((code for kind, code in _ERRORS if isinstance(error, kind)), None)
        if code is None:
            raise
        raise StoreFailure(code) from None


def _code(named: str, missing: str) -> str:
    if named in _GONE:
        return missing
    if named in _DENIED:
        return "store_forbidden"
    return "store_login_refused" if named in _LOGIN else "store_failing"
