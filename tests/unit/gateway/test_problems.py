import httpx
import pytest
from fastapi import FastAPI

from ogpu_provider.domain.errors import ProviderError, RpcUnavailable, StoreError
from ogpu_provider.gateway import problems, refusals


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RpcUnavailable("no endpoint answers at 10.0.0.7"), 503, "unavailable"),
        (StoreError("moved", code="store.stale"), 409, "task.moved"),
        (StoreError("spent", code="gateway.budget"), 402, "payment.budget"),
        (StoreError("reused", code="gateway.reused_key"), 422, "idempotency.reused"),
    ],
)
async def test_a_failure_behind_the_api_is_no_defect_of_it(error: ProviderError, status: int, code: str) -> None:
    app = FastAPI()
    refusals.install(app)

    @app.get("/")
    async def fails() -> None:
        raise error

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    assert "10.0.0.7" not in answer.text
