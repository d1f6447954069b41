"""What a sidecar would take from its configuration, and what would then refuse every call: told before it is served.

A policy that does not compile leaves a sidecar without one, and an address that no destination grants refuses the
first call. Neither makes the file wrong, so both are warnings. Nothing is looked up and nothing is dialled: a name
is judged where the configuration fixes its addresses, or where it is an address itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sidecar.adapters.policy.files import read_policy, source_of, with_schema
from sidecar.adapters.policy.library import library
from sidecar.cli.policy_check import fault_of
from sidecar.config.authority import base_url
from sidecar.config.faults import Fault
from sidecar.config.load import Loaded
from sidecar.errors import Reason, Refused, SidecarError
from sidecar.rules.addresses import check_addresses, compile_grants, static_addresses
from sidecar.rules.networks import GRANTABLE, judge

_LOCALHOST = ("127.0.0.1",)
_DENIED = "; until it loads, a sidecar that starts has no policy and denies every call"


def foreseen(loaded: Loaded) -> tuple[Fault, ...]:
    """Warnings about the policy folder and about connectors' own addresses, each with the next step."""
    return (*_of_policy(loaded), *_of_connectors(loaded))


def _of_policy(loaded: Loaded) -> Iterator[Fault]:
    section = loaded.config.policy
    folder = loaded.resolve(section.directory)
    if section.bundle is not None or section.server is not None or not folder.is_dir():
        return
    try:
        engine = library()
        engine.release(engine.load(with_schema(source_of(read_policy(folder, with_library=section.library)))).handle)
    except SidecarError as error:
        for reason in error.reasons or [Reason(error.code, error.detail)]:
            fault = fault_of(reason, folder)
            yield fault._replace(message=f"{fault.message}{_DENIED}")


def _of_connectors(loaded: Loaded) -> Iterator[Fault]:
    config = loaded.config
    fixed, grants = static_addresses(config.destinations), compile_grants(config.destinations)
    for name, connector in config.connectors.items():
        base = base_url(connector.base_url)
        addresses = _known(base.host, fixed)
        if not addresses:
            continue
        try:
            check_addresses(base.host, base.port, addresses, grants)
        except Refused as refused:
            message = f"{refused.detail.rstrip('.')}{_grant(base.host, base.port, addresses)}"
            path = f"connectors.{name}.base_url"
            yield Fault("destination_forbidden", loaded.path.name, None, None, path, message)


def _known(host: str, fixed: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    if host in fixed:
        return fixed[host]
    try:
        return (judge(host).address,)
    except ValueError:
        return _LOCALHOST if host == "localhost" else ()


def _grant(host: str, port: int, addresses: tuple[str, ...]) -> str:
    if any(judge(address).kind not in GRANTABLE for address in addresses):
        return ""
    networks = ", ".join(f'"{address}/{128 if ":" in address else 32}"' for address in addresses)
    return f'; to grant it: destinations: {{local: {{name: "{host}", port: {port}, networks: [{networks}]}}}}'
