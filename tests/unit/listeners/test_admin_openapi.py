"""The OpenAPI document is made from the route table; requests made from it are in the integration tests."""

from __future__ import annotations

import json

from sidecar.errors import CODES
from sidecar.listeners.admin_openapi import openapi
from tests.fakes.desk import Desk


def test_every_route_is_an_operation_with_its_roles_and_refusals() -> None:
    door = Desk().door
    document = openapi(door.endpoints)
    for endpoint in door.endpoints:
        operation = document["paths"][endpoint.pattern][endpoint.method.lower()]
        assert operation["summary"] == endpoint.summary
        assert operation["description"].startswith("For the roles ")
        assert {"401", "403", "404"} <= set(operation["responses"])
        assert ("428" in operation["responses"]) is (endpoint.matches or endpoint.tagged)
        assert ("requestBody" in operation) is (endpoint.body is not None or endpoint.section is not None)


def test_each_status_names_its_codes() -> None:
    responses = openapi(Desk().door.endpoints)["paths"]["/v1/connectors/{connector}"]["put"]["responses"]
    for code in ("conflict", "declared", "in_use", "wrong_status"):
        assert code in responses[str(CODES[code].status)]["description"]


def test_every_reference_leads_somewhere() -> None:
    document = openapi(Desk().door.endpoints)
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])
    assert {"ConnectorSection", "ConnectorView", "Problem"} <= names
