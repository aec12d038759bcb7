"""The API is what its OpenAPI document says: generated requests to every route, none answered outside of it."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from ogpu_provider.domain.webhook import KINDS
from ogpu_provider.gateway.app import openapi
from ogpu_provider.gateway.routes.told import NAMES, Told
from tests.sizes import size
from tests.unit.gateway.orders import a_key, an_order, opened
from tests.unit.gateway.served import Served, served

DOCUMENT = openapi()
OPERATIONS = sorted((path, verb) for path, item in DOCUMENT["paths"].items() for verb in item)
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("api")) as one:
        yield one


@pytest.mark.parametrize(("path", "verb"), OPERATIONS, ids=lambda part: str(part))
def test_no_request_is_answered_outside_the_document(api: Served, path: str, verb: str) -> None:
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][verb]
    modes = st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE])

    @settings(max_examples=size("api requests"), deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=data.draw(modes)))
        if "{task_id}" in path and data.draw(st.booleans()):
            case.path_parameters["task_id"] = api.task
        headers = {"Authorization": f"Bearer {data.draw(st.sampled_from([api.key, api.other, 'ogpu_live_no']))}"}
        case.call_and_validate(base_url=api.url, headers=headers, checks=CHECKS, timeout=60)

    holds()


def test_every_route_that_is_served_is_documented_or_the_page(api: Served) -> None:
    found = httpx.get(api.url + "/api/openapi.json", trust_env=False).json()
    assert sorted(found["paths"]) == sorted(DOCUMENT["paths"])
    for path in ("/docs", "/redoc", "/openapi.json", "/metrics"):
        assert httpx.get(api.url + path, trust_env=False).status_code == 404


async def test_what_is_told_is_what_the_document_says(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    key, _ = await a_key(store)
    order = await an_order(store, key, 1, callback="https://user.example/hook")
    for kind in KINDS:
        order = await store.move(order, kind, at=order.updated_at + 1, code="task.expired", reason="nobody answered")
    told = [json.loads(one.body) for one in await store.deliveries()]
    await store.close()
    assert sorted(body["type"] for body in told) == sorted(DOCUMENT["webhooks"]) == sorted(NAMES)
    for body in told:
        Told.model_validate(body)


def test_a_body_over_the_limit_is_refused_everywhere(api: Served) -> None:
    header = {"Authorization": f"Bearer {api.key}"}
    for path, verb in OPERATIONS:
        place = api.url + path.format(task_id=api.task, model_id="multiply")
        refused = httpx.request(verb, place, headers=header, content=b" " * (1 << 17), trust_env=False)
        assert (refused.status_code, refused.json()["code"]) == (413, "request.too_large")
        assert "413" in DOCUMENT["paths"][path][verb]["responses"]


def test_a_body_over_the_limit_is_refused(api: Served) -> None:
    header = {"Authorization": f"Bearer {api.key}", "Content-Type": "application/json"}
    for body in (b"{" + b" " * (1 << 20), iter([b"{", *[b" " * (1 << 14)] * 64])):  # told beforehand, and not told
        refused = httpx.post(api.url + "/api/tasks", headers=header, content=body, trust_env=False)
        assert (refused.status_code, refused.json()["code"]) == (413, "request.too_large")


def test_no_key_reads_what_another_owns(api: Served) -> None:
    header = {"Authorization": f"Bearer {api.other}"}
    with httpx.Client(base_url=api.url, headers=header, trust_env=False) as other:
        asked = [(path, verb) for path, verb in OPERATIONS if "{task_id}" in path]
        assert len(asked) == 6
        for path, verb in asked:
            assert other.request(verb, path.format(task_id=api.task)).status_code == 404
        listed = other.get("/api/tasks", params={"limit": 100}).json()["tasks"]
        assert api.task not in [one["task_id"] for one in listed]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/hook",
        "http://169.254.169.254/latest/meta-data",
        "https://10.1.2.3/hook",
        "https://[::1]/hook",
        "https://[2002:a9fe:a9fe::]/hook",
        "https://user:word@example.com/hook",
        "https://example.com:8443/hook",
        "ftp://example.com/hook",
    ],
)
def test_a_callback_that_leads_inside_is_refused_with_the_task(api: Served, url: str) -> None:
    header, body = {"Authorization": f"Bearer {api.key}"}, {"model_id": "multiply", "input_data": {}}
    body |= {"compute_requirements": {}, "callback_url": url}
    refused = httpx.post(api.url + "/api/tasks", json=body, headers=header, trust_env=False)
    assert (refused.status_code, refused.json()["code"]) == (422, "callback.refused")


def test_what_is_no_json_for_others_is_refused(api: Served) -> None:
    header = {"Authorization": f"Bearer {api.key}", "Content-Type": "application/json"}
    for value in ("NaN", "-Infinity", '"\\ud800"'):
        body = f'{{"model_id": "multiply", "input_data": {{"a": {value}}}, "compute_requirements": {{}}}}'
        refused = httpx.post(api.url + "/api/tasks", content=body, headers=header, trust_env=False)
        assert (refused.status_code, refused.json()["code"]) == (422, "request.invalid")
