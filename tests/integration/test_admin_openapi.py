"""The administrators' door against its own OpenAPI document: requests made from it, good and broken ones.

No answer is a failure of ours, and each has a status and a form that the document names.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import booleans
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sidecar.model.credential import Terms
from sidecar.model.secret import Secret
from tests.fakes.desk import SECTION, Desk
from tests.fakes.parts import key_of

EXAMPLES = 20
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
MODES = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]


KNOWN = {
    **{"connector": "wiki", "operation": "get", "source": "wiki", "plane": "wiki", "principal": "bob", "role": "r"},
    **{"key": "key_bob", "origin": "acme-00000000", "index": "0", "target": "connector", "id": "wiki"},
}
REFERENCE = "encrypted://crm"
PLANE = {"source": "wiki", "actions": {"retrieve": ["get"]}}


def document() -> dict[str, Any]:
    async def made() -> dict[str, Any]:
        from sidecar.listeners.admin_openapi import openapi

        return openapi(Desk().door.endpoints)

    return asyncio.run(made())


DOCUMENT = document()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)}


@pytest.fixture(scope="module")
def door() -> Iterator[str]:
    """A door on a loop and thread of its own; its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[Desk, int]:
        desk = Desk()
        await desk.verbs.connectors.save("wiki", SECTION, draft=False, version=None, by="ada")
        await desk.verbs.sources.save("wiki", {"connector": "wiki"}, draft=False, version=None, by="ada")
        await desk.verbs.planes.save("wiki", PLANE, version=None, by="ada")
        await desk.verbs.credentials.save(
            REFERENCE, Secret("c4n4ry-value"), Terms(kind="CUSTOM"), expected=None, asker=desk.person("ada")
        )
        return desk, await desk.door.listen("127.0.0.1", 0, None)

    desk, port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    yield f"http://127.0.0.1:{port}"
    asyncio.run_coroutine_threadsafe(desk.door.close(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


async def test_the_document_is_openapi_3_1() -> None:
    SCHEMA.validate()
    assert len(OPERATIONS) == len(Desk().door.endpoints)
    assert DOCUMENT["openapi"] == "3.1.0"
    ids = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("mode", MODES, ids=["as-documented", "broken"])
@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_every_operation_answers_as_documented(door: str, label: str, mode: schemathesis.GenerationMode) -> None:
    operation = OPERATIONS[label]
    headers = {"Authorization": f"Bearer {key_of('all')}"}
    try:
        strategy = operation.as_strategy(generation_mode=mode)
    except Exception as error:  # a route that takes nothing has no broken request
        pytest.skip(f"nothing to break: {type(error).__name__}")

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.explicit, Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
    )
    @given(case=strategy, known=booleans())
    def fuzz(case: schemathesis.Case[Any], known: bool) -> None:
        if known:  # random ids are never there: half of the requests are for things that are
            case.path_parameters.update({name: KNOWN[name] for name in case.path_parameters})
            if "reference" in case.query:
                case.query["reference"] = REFERENCE
            if "If-Match" in case.headers:
                case.headers.pop("If-None-Match", None)
        with requests.Session() as session:
            answer = case.call(base_url=door, headers=headers, session=session)
        case.validate_response(answer, checks=CHECKS)

    fuzz()
