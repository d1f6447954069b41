"""Who asks at the administrators' door; the matrix of hosts and origins is among the attacks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from sidecar.config.sections import Config
from sidecar.errors import Refused
from sidecar.listeners.admin_caller import SOCKET, admit, check_site, named, owner, place
from sidecar.model.call import Call
from sidecar.model.secret import Secret
from sidecar.rules.catalogue import Catalogue, Standing, compile_catalogue
from tests.fakes.desk import HOUSE
from tests.fakes.parts import key_of

CONFIG = msgspec.convert(HOUSE, Config)
CATALOGUE = compile_catalogue(CONFIG)


def showing(name: str | None, **more: Any) -> Call:
    token = Secret(key_of(name)) if name else None
    return Call(**({"id": "c", "surface": "admin", "action": "admin", "token": token} | more))


def refused(call: Call, catalogue: Catalogue = CATALOGUE) -> str:
    with pytest.raises(Refused) as caught:
        admit(call, catalogue, 0)
    return caught.value.code


def test_people_are_admitted_and_agents_are_not() -> None:
    for name in ("ada", "audrey", "oscar", "nobody"):
        assert admit(showing(name), CATALOGUE, 0).id == name
    assert refused(showing("alice")) == "forbidden"
    assert refused(showing("stranger")) == "tenant_mismatch"
    assert refused(showing(None)) == "unauthenticated"


def test_the_sockets_owner_is_an_operator_and_a_tenant_admin() -> None:
    person = owner("acme")
    assert person.roles == ("tenant-admin", "operator")
    assert admit(showing(None, principal=person), CATALOGUE, 0) is person


def test_while_the_tenant_is_suspended_only_operators_are_admitted() -> None:
    suspended = compile_catalogue(CONFIG, Standing(suspended=True))
    assert admit(showing("oscar"), suspended, 0).id == "oscar"
    assert admit(showing(None, principal=owner("acme")), suspended, 0).kind == "system"
    assert refused(showing("ada"), suspended) == "tenant_suspended"


@pytest.mark.parametrize("hosts", [[], ["127.0.0.1:8081", "127.0.0.1:8081"], ["127.0.0.1:8081", "evil.example"]])
def test_p10_a_request_names_one_host(hosts: list[str]) -> None:
    """Whatever the server before this step lets through."""
    headers = CIMultiDictProxy(CIMultiDict([("Host", host) for host in hosts]))
    with pytest.raises(Refused) as caught:
        check_site(headers, place("http", "127.0.0.1", 8081))
    assert caught.value.code == "host_forbidden"


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        ({"subjectAltName": (("URI", "spiffe://acme.example/principal/ada"),)}, "ada"),
        ({"subjectAltName": (("DNS", "ada"),)}, "ada"),
        ({"subject": ((("commonName", "ada"),),)}, "ada"),
        ({"subject": ((("commonName", "oscar"),),), "subjectAltName": (("DNS", "ada"),)}, "ada"),
        ({"subject": ((("commonName", "ada"),),), "subjectAltName": (("IP Address", "10.0.0.1"),)}, "ada"),
        ({"subjectAltName": (("DNS", "ada"), ("DNS", "ada.example"))}, "ada"),
        ({"subjectAltName": (("DNS", "ada"), ("DNS", "oscar"))}, None),
        ({"subject": ((("commonName", "ada"),),), "subjectAltName": (("DNS", "mallory"),)}, None),
        ({"subjectAltName": (("URI", "spiffe://acme.example/ada"),)}, None),
        ({"subjectAltName": (("URI", "spiffe://acme.example/principal/ada/x"),)}, None),
        ({"subjectAltName": (("URI", "https://acme.example/principal/ada"),)}, None),
        ({"subject": ((("organizationName", "ada"),),)}, None),
        ({}, None),
    ],
)
def test_a_certificate_names_one_principal_or_proves_nothing(
    certificate: dict[str, Any], expected: str | None
) -> None:
    if expected is not None:
        assert named(certificate, CATALOGUE).id == expected
        return
    with pytest.raises(Refused) as caught:
        named(certificate, CATALOGUE)
    assert caught.value.code == "unauthenticated"


def test_a_door_is_named_by_its_address_and_by_its_certificate() -> None:
    behind_tls = place("https", "10.1.2.3", 443, ("sidecar.acme.example",))
    assert behind_tls.hosts == {
        *("10.1.2.3", "10.1.2.3:443", "sidecar.acme.example", "sidecar.acme.example:443"),
    }
    assert "https://sidecar.acme.example" in behind_tls.origins
    assert "http://10.1.2.3:443" not in behind_tls.origins
    assert place("http", "::1", 8081).hosts == {"[::1]:8081", "127.0.0.1:8081", "localhost:8081"}
    assert place("https", "0.0.0.0", 8081, ("x",)).hosts == {"0.0.0.0:8081", "x:8081"}


def test_the_socket_is_named_admin_or_localhost() -> None:
    for host, good in (("admin", True), ("localhost", True), ("evil.example", False)):
        headers = CIMultiDictProxy(CIMultiDict({"Host": host}))
        if good:
            check_site(headers, SOCKET)
            continue
        with pytest.raises(Refused):
            check_site(headers, SOCKET)
