"""What can be asked for."""

from typing import Any

from fastapi import FastAPI, Response

from ogpu_provider.gateway.documents import ModelDocument, ModelList, model_document
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.gateway.routes.context import Api, answered, refusals


def add(app: FastAPI, api: Api) -> None:
    reader: dict[str, Any] = {"dependencies": [api.key("tasks:read")], "tags": ["models"]}

    @app.get("/api/models", response_model=ModelList, responses=refusals(), **reader)
    async def list_models() -> Response:
        """Everything that can be asked for, with its price."""
        return answered({"models": [model_document(one, api.currency) for one in await api.store.models()]})

    @app.get("/api/models/{model_id:path}", response_model=ModelDocument, responses=refusals(404), **reader)
    async def get_model(model_id: str) -> Response:
        """One model; its id may have slashes."""
        found = await api.store.model(model_id)
        if found is None:
            raise Problem(404, "model.unknown", "no such model")
        return answered(model_document(found, api.currency))
