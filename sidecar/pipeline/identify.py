"""Step 1 and 2: who asks, and whether this sidecar serves their tenant."""

from __future__ import annotations

import hashlib
import hmac

from sidecar.errors import Refused
from sidecar.model.call import Call
from sidecar.model.principal import Principal
from sidecar.rules.catalogue import Catalogue

_PREFIX = b"scp_"
_SECRET_CHARACTERS = 43  # 32 bytes in base64url without padding
# Compared against when the key id is unknown, so that the answer takes as long for a wrong id as for a wrong key.
_NOBODY = "0" * 64


def identify(call: Call, catalogue: Catalogue, now: int = 0) -> Principal:
    """The principal whose API key the call shows. Raises ``Refused("unauthenticated")``.

    A key is ``scp_<id>_<secret>``; the SHA-256 of the whole string is compared in constant time. ``now``, in
    microseconds since the epoch, is held against the key's end.
    """
    if call.principal is not None:
        return call.principal
    if call.token is None:
        raise Refused("unauthenticated", "No API key came with the call. Send it as Authorization: Bearer scp_...")
    plain = call.token.reveal()
    key = catalogue.keys.get(_key_id(plain))
    shown = hashlib.sha256(plain).hexdigest()
    if not hmac.compare_digest(shown, key.sha256 if key else _NOBODY) or key is None:
        raise Refused("unauthenticated", "The API key is not known here. Ask the tenant's admin for one.")
    if key.expires is not None and now >= key.expires:
        raise Refused("unauthenticated", "The API key has expired. Ask the tenant's admin for a new one.")
    return key.principal


def _key_id(plain: bytes) -> str:
    return (
        plain[len(_PREFIX) : -_SECRET_CHARACTERS - 1].decode("ascii", "replace") if plain.startswith(_PREFIX) else ""
    )


def still(principal: Principal, catalogue: Catalogue) -> None:
    """Whether a stream of ``principal`` goes on under another configuration: raises as ``isolate`` does, and
    ``Refused("unauthenticated")`` where the key that was shown is not there any more.
    """
    isolate(principal, catalogue)
    if principal.key is not None and principal.key not in catalogue.keys:
        raise Refused("unauthenticated", "The API key was revoked. Ask the tenant's admin for another one.")


def isolate(principal: Principal, catalogue: Catalogue) -> None:
    """Raises ``Refused("tenant_mismatch")`` unless the principal is of the tenant this sidecar serves (INV-4), and
    ``Refused("tenant_suspended")`` for everybody while that tenant is suspended."""
    if principal.tenant != catalogue.tenant:
        raise Refused(
            "tenant_mismatch", "The caller belongs to another tenant than this sidecar serves. Use that tenant's own."
        )
    if catalogue.standing.suspended:
        raise Refused(
            "tenant_suspended", "The tenant is suspended; nothing is served until an operator activates it."
        )
