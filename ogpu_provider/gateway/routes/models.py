"""What can be asked for."""

from fastapi import FastAPI

from ogpu_provider.gateway.documents import ModelDocument, ModelList, model_document
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.gateway.routes.context import Api, refusals


def add(app: FastAPI, api: Api) -> None:
    reader = api.key("tasks:read")

    @app.get("/api/models", dependencies=[reader], responses=refusals(), tags=["models"])
    async def list_models() -> ModelList:
        """Everything that can be asked for, with its price."""
        return ModelList(models=[model_document(one, api.currency) for one in await api.store.models()])

    @app.get("/api/models/{model_id}", dependencies=[reader], responses=refusals(404), tags=["models"])
    async def get_model(model_id: str) -> ModelDocument:
        """One model."""
        found = await api.store.model(model_id)
        if found is None:
            raise Problem(404, "model.unknown", "no such model")
        return model_document(found, api.currency)
