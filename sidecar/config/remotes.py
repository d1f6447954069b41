"""The sections ``vault`` and ``aws``: where remote secrets are, who the sidecar is there, and what it may name.

Only files prove who the sidecar is, so no secret stands in the configuration; and what references may name is a list
of paths, so that a tenant's configuration cannot reach another tenant's secrets even where the store would let it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"
_OWN = "{tenant}"


def _about(text: str) -> Meta:
    return Meta(description=text)


def _default_mounts() -> dict[str, Literal["kv1", "kv2", "database"]]:
    return {"secret": "kv2", "database": "database"}


Path = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_.{}-]{1,128}(/[A-Za-z0-9_.{}-]{1,128})*$",
        max_length=512,
        title="a path of letters, digits, dots, dashes and underscores between single slashes",
    ),
]
Place = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\s/?#@]+/?$",
        title="https://host[:port], or http://127.0.0.1:port",
    ),
]
Wait = Annotated[float, Meta(gt=0, le=60, title="seconds, above 0 and at most 60")]
Age = Annotated[float, Meta(gt=0, le=86_400, title="seconds, above 0 and at most a day")]


class VaultLogin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who the sidecar is. The file is read anew at each login: an agent, a mount or the kubelet keeps it fresh."""

    method: Annotated[Literal["token", "approle", "kubernetes", "jwt"], _about("the auth method")]
    file: Annotated[
        str | None,
        _about("file of the token, the secret id or the JWT; kubernetes: the pod's own service-account token"),
    ] = None
    role: Annotated[str | None, _about("role to log in to, for kubernetes and jwt")] = None
    role_id: Annotated[str | None, _about("role id, for approle")] = None
    mount: Annotated[Path | None, _about("where the auth method is mounted; by default at its own name")] = None

    @property
    def proof_file(self) -> str:
        """The file that proves who the sidecar is."""
        return self.file or _SERVICE_ACCOUNT

    @property
    def mounted_at(self) -> str:
        """Where the auth method is."""
        return self.mount or self.method

    @property
    def is_private(self) -> bool:
        """Whether the file must not be open to everybody."""
        return self.method in ("token", "approle")


class VaultSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """HashiCorp Vault or OpenBao, behind ``vault://`` references. A path begins with a mount and lies under one of
    ``paths``, in which ``{tenant}`` is the sidecar's tenant.
    """

    address: Annotated[Place, _about("https://host[:port]; http:// on a loopback address only")]
    login: Annotated[VaultLogin, _about("who the sidecar is")]
    namespace: Annotated[Path | None, _about("namespace, where the server has them")] = None
    ca_file: Annotated[str | None, _about("PEM file of the authorities to trust instead of the system's")] = None
    mounts: Annotated[
        dict[Path, Literal["kv1", "kv2", "database"]],
        Meta(min_length=1),
        _about("what is mounted where, by path; by default secret: kv2 and database: database"),
    ] = field(default_factory=_default_mounts)
    paths: Annotated[
        tuple[Path, ...], Meta(min_length=1), _about("the only paths that references may name, with all below them")
    ] = (f"secret/{_OWN}",)
    timeout_seconds: Annotated[Wait, _about("one exchange, and a call's wait for a credential")] = 5.0
    max_age_seconds: Annotated[
        Age, _about("how long a static value may be used after it was read; leases have their own time")
    ] = 300.0

    def mount_of(self, locator: str) -> str | None:
        """The longest mount that a path begins with."""
        fitting = [mount for mount in self.mounts if locator.startswith(f"{mount}/")]
        return max(fitting, key=len, default=None)

    def allows(self, locator: str, tenant: str) -> bool:
        """Whether a reference of ``tenant`` may name this path."""
        return _is_under(locator, self.paths, tenant)

    def roots(self, tenant: str) -> list[str]:
        """The paths that a tenant may name, with all below them."""
        return _roots(self.paths, tenant)


class AwsSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """AWS Secrets Manager, behind ``aws://`` references. The sidecar is whom AWS's own chain says: the pod's role, or
    the environment.
    """

    region: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}$", title="a region, such as eu-west-1"), _about("region")]
    endpoint: Annotated[Place | None, _about("another endpoint than the region's")] = None
    ca_file: Annotated[str | None, _about("PEM file of the authorities to trust instead of the system's")] = None
    names: Annotated[
        tuple[Path, ...], Meta(min_length=1), _about("the only names that references may name, with all below them")
    ] = (_OWN,)
    timeout_seconds: Annotated[Wait, _about("one exchange, and a call's wait for a credential")] = 5.0
    max_age_seconds: Annotated[Age, _about("how long a value may be used after it was read")] = 300.0

    def allows(self, locator: str, tenant: str) -> bool:
        """Whether a reference of ``tenant`` may name this secret."""
        return _is_under(locator, self.names, tenant)

    def roots(self, tenant: str) -> list[str]:
        """The names that a tenant may name, with all below them."""
        return _roots(self.names, tenant)


def _is_under(locator: str, allowed: tuple[str, ...], tenant: str) -> bool:
    return any(locator == root or locator.startswith(f"{root}/") for root in _roots(allowed, tenant))


def _roots(allowed: tuple[str, ...], tenant: str) -> list[str]:
    return [root.replace(_OWN, tenant) for root in allowed]
