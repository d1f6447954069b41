"""Three families of failure, many stable reason codes.

``Refused``        the call must not go on (the caller, the policy or a limit is the cause).
``Unavailable``    something the call needs does not answer (policy, evidence, credential, upstream).
``Misconfigured``  an operator's file or flag is wrong; only seen at start-up, reload and on the command line.

A code is part of the public interface: clients branch on it, so it is never renamed. The text in ``detail`` is
written for the caller: it says what was refused, why, and what the reader can do. It never holds a secret,
policy text or an internal of the transport. The problem document is RFC 9457's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple


class Code(NamedTuple):
    """The HTTP status and the short title every refusal with this code is shown under."""

    status: int
    title: str


class Reason(NamedTuple):
    """One reason for a refusal: a stable code and a sentence."""

    code: str
    message: str


CODES: Final[dict[str, Code]] = {
    # the message itself
    "malformed": Code(400, "The message is not acceptable HTTP"),
    "invalid_json": Code(400, "The body is not acceptable JSON"),
    "not_found": Code(404, "There is no such route"),
    "method_not_allowed": Code(405, "The route does not take this method"),
    "request_timeout": Code(408, "The request did not arrive in time"),
    "body_too_large": Code(413, "The request body is too large"),
    "unsupported_media_type": Code(415, "The body is not JSON"),
    "headers_too_large": Code(431, "The request head is too large"),
    "unsupported_version": Code(505, "The HTTP version is not supported"),
    # who asks, and for whom
    "unauthenticated": Code(401, "The caller is not known"),
    "tenant_mismatch": Code(403, "The caller belongs to another tenant"),
    "forbidden": Code(403, "The caller may not use this route"),
    "tenant_suspended": Code(403, "The tenant is suspended"),
    "host_forbidden": Code(403, "The request names another host than this door's"),
    "origin_forbidden": Code(403, "The request comes from another site"),
    # what is asked
    "unknown_plane": Code(404, "There is no such plane"),
    "unknown_connector": Code(404, "There is no such connector"),
    "unknown_operation": Code(404, "There is no such operation"),
    "unknown_evidence": Code(404, "There is no such evidence"),
    "unknown_source": Code(404, "There is no such data source"),
    "unknown_principal": Code(404, "There is no such principal"),
    "unknown_key": Code(404, "There is no such key"),
    "unknown_role": Code(404, "The principal was not granted this role"),
    "inactive": Code(403, "It was taken out of service"),
    "not_capable": Code(422, "The connector is not capable of this"),
    "wrong_status": Code(409, "Its status does not allow this"),
    "not_connected": Code(409, "The connector did not connect"),
    "declared": Code(409, "The configuration declares it; it is changed there"),
    "in_use": Code(409, "Something else needs it"),
    "precondition_required": Code(428, "The change does not say what it changes"),
    "unsupported_action": Code(422, "The plane does not offer this action"),
    "invalid_payload": Code(422, "The payload does not match the operation"),
    # limits
    "killed": Code(403, "A kill switch is set"),
    "rate_limited": Code(429, "Too many calls"),
    "too_many_in_flight": Code(429, "Too many calls at once"),
    "budget_exceeded": Code(429, "The budget is spent"),
    # the policy
    "denied": Code(403, "The policy denies this call"),
    "policy_unavailable": Code(403, "The policy could not decide"),
    "approval_required": Code(403, "The call needs an approval"),
    # the destination
    "destination_forbidden": Code(403, "The destination may not be reached"),
    # the credential
    "credential_unavailable": Code(502, "The credential could not be resolved"),
    "credential_misused": Code(403, "The credential may not be used here"),
    "unknown_credential": Code(404, "There is no such credential"),
    "read_only": Code(409, "It is changed elsewhere"),
    "store_unavailable": Code(502, "The credential store did not do it"),
    # the upstream
    "upstream_unavailable": Code(502, "The upstream did not answer"),
    "upstream_timeout": Code(502, "The upstream did not answer in time"),
    "upstream_invalid": Code(502, "The upstream's answer is not acceptable HTTP"),
    "circuit_open": Code(502, "The upstream is failing; calls to it are paused"),
    "answer_too_large": Code(502, "The upstream's answer is too large"),
    "answer_unexpected": Code(502, "The upstream's answer is of an unexpected type"),
    "answer_withheld": Code(502, "The upstream's answer could not be made safe"),
    "connector_error": Code(502, "The connector failed"),
    "data_source_error": Code(502, "The data source failed"),
    # the registry
    "unknown_switch": Code(404, "There is no such kill switch"),
    "conflict": Code(409, "It has been changed meanwhile"),
    "registry_unavailable": Code(503, "The registry does not answer"),
    # ourselves
    "evidence_unavailable": Code(503, "Evidence cannot be made durable"),
    "overloaded": Code(503, "The sidecar has too many connections"),
    "draining": Code(503, "The sidecar is shutting down"),
    "cancelled": Code(503, "The caller went away before the call ended"),
    "internal_error": Code(500, "The sidecar failed; the call was not answered"),
}


class SidecarError(Exception):
    """A failure with a stable ``code``, a ``detail`` for the caller and, where there are several, ``reasons``."""

    def __init__(self, code: str, detail: str, reasons: Sequence[Reason] = ()) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.reasons: tuple[Reason, ...] = tuple(reasons)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class Refused(SidecarError):
    """The call must not go on; ``code`` is a key of ``CODES``."""

    def __init__(
        self, code: str, detail: str, reasons: Sequence[Reason] = (), retry_after: float | None = None
    ) -> None:
        super().__init__(code, detail, reasons)
        self.retry_after = retry_after  # seconds, for 429 and 503


class Unavailable(SidecarError):
    """A part the call needs does not answer; ``code`` is a key of ``CODES``."""


class UpstreamFailure(Unavailable):
    """The upstream failed. ``sent`` is True once any byte of the request may have reached it.

    Only an unsent request, or one whose method is idempotent, may be tried again (RFC 9110 section 9.2.2).
    """

    def __init__(self, code: str, detail: str, *, sent: bool) -> None:
        super().__init__(code, detail)
        self.sent = sent


class Misconfigured(SidecarError):
    """A file, a flag or an environment variable is wrong; ``code`` is ``misconfigured`` unless narrowed."""

    def __init__(self, detail: str, reasons: Sequence[Reason] = (), code: str = "misconfigured") -> None:
        super().__init__(code, detail, reasons)

    def __str__(self) -> str:
        return self.detail
