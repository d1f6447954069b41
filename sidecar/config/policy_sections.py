"""What ``policy`` may say: a folder, bundles or an OPA server, and how long a decision may take."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from sidecar.config.fields import Name, ReferenceText, Seconds, Section, about


class PolicyServer(Section, frozen=True, kw_only=True):
    """An OPA server of the customer's own that decides. Plain http is for loopback addresses; start it with a status
    (``--set status.console=true``), and let nobody but the sidecar and the security team write to it.
    """

    url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s/?#@]+/?|unix:///[^\s?#]{1,100})$",
            title="https://host[:port], http://127.0.0.1:port or unix:///path/of/the.sock",
        ),
        about("https://host[:port], http:// on a loopback address, or unix:///path/of/the.sock"),
    ]
    token: Annotated[ReferenceText | None, about("reference to the bearer token that the server wants")] = None
    ca_file: Annotated[str | None, about("PEM file of the authorities to trust instead of the system's")] = None
    client_cert: Annotated[str | None, about("PEM file of the sidecar's own certificate, for mutual TLS")] = None
    client_key: Annotated[str | None, about("PEM file of its private key, not readable by others")] = None
    maximum_age_seconds: Annotated[
        float,
        Meta(gt=0, le=604_800, title="seconds, above 0 and at most a week"),
        about("how long ago the server may last have confirmed its bundles; then every call is denied"),
    ] = 600.0
    connections: Annotated[int, Meta(ge=1, le=1_000), about("open connections at once")] = 64
    cache: Annotated[
        bool,
        about("keep decisions; only where nobody changes the server's policy or data but by a new revision"),
    ] = False


class BundleKey(Section, frozen=True, kw_only=True):
    """A public key that verifies bundles, by one algorithm only."""

    algorithm: Annotated[Literal["RS256", "ES256"], about("the only algorithm it verifies")]
    file: Annotated[str, about("PEM file of the public key")]


class BundleSection(Section, frozen=True, kw_only=True):
    """OPA bundles instead of a folder of loose files: from exactly one of ``file``, ``directory`` and ``url``.

    With ``keys`` a bundle must be signed by one of them, and its manifest must hold ``metadata: {sequence: N}`` with
    a number above that of every bundle before it: an old bundle that comes back is refused.
    """

    file: Annotated[str | None, about("a bundle made by `opa build`, watched")] = None
    directory: Annotated[str | None, about("folder of an unpacked bundle, watched")] = None
    url: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^\s#@]+$", title="https://host[:port]/path")] | None,
        about("where to get the bundle, polled with ETags; https, or http on a loopback address"),
    ] = None
    token: Annotated[ReferenceText | None, about("reference to the bearer token that the url wants")] = None
    ca_file: Annotated[str | None, about("PEM file of the authorities to trust instead of the system's")] = None
    poll_seconds: Annotated[Seconds, about("how often the url is asked")] = 10.0
    timeout_seconds: Annotated[Seconds, about("one answer of the url, its body included")] = 10.0
    keys: Annotated[
        dict[Name, BundleKey], about("who may sign, by key id; without keys a bundle need not be signed")
    ] = {}
    scope: Annotated[str, about("scope that the signature must name")] = ""
    canaries: Annotated[
        str | None, about("YAML decision cases that a bundle must decide as expected before it is activated")
    ] = None
    test_seconds: Annotated[Seconds, about("time that the bundle's own tests may take together")] = 30.0


class PolicySection(Section, frozen=True, kw_only=True):
    """Where the Rego and its data are. ``library`` adds the shipped rules under ``data.sidecar.authz``."""

    directory: Annotated[str, about("folder of .rego files and data")] = "policy"
    bundle: Annotated[BundleSection | None, about("take OPA bundles instead of the folder")] = None
    state: Annotated[
        str | None,
        about("folder of the history of bundles and the last of them; by default policy in the evidence folder"),
    ] = None
    library: Annotated[bool, about("load the shipped rules as well")] = True
    server: Annotated[PolicyServer | None, about("let this OPA server decide instead of the folder's policy")] = None
    quick_ms: Annotated[float, Meta(gt=0, le=100), about("time an evaluation may take on the event loop")] = 5.0
    budget_ms: Annotated[
        float,
        Meta(gt=0, le=5000),
        about("time a decision may take in all; then it is policy_unavailable"),
    ] = 100.0
    cache_entries: Annotated[
        int, Meta(ge=0, le=1_000_000), about("decisions kept for inputs that are the same to the policy; 0: none")
    ] = 10_000
