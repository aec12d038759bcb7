"""A source's own documents: its metadata, and the compose file that it names for an environment."""

from typing import Any

import structlog

from ogpu_provider.domain.documents import read_json
from ogpu_provider.domain.errors import FetchError, ProviderError, Retry
from ogpu_provider.domain.source import Environment, ServedSource, SourceMetadata, SourceParams
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.ports import Content

log = structlog.get_logger()
METADATA_LIMIT = COMPOSE_LIMIT = 256 * 1024
"""Bytes; larger documents are refused unread."""


class SourceDocuments:
    """Remembers each source's last compose file, for when its host does not answer."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._composes: dict[Address, bytes] = {}

    async def fetch(self, row: ServedSource, params: SourceParams, environment: Environment) -> tuple[str, bytes]:
        """Name and compose file, fetched; those of the last time while their host does not answer."""
        try:
            metadata = await self._metadata(params)
            compose = await self._compose(metadata, environment)
        except FetchError as error:
            kept = self._composes.get(row.address)
            if kept is None or error.retry is Retry.NEVER:
                raise
            log.warning("source_documents_unread", source=row.address, code=error.code, error=str(error))
            return row.name, kept
        self._composes[row.address] = compose
        return metadata.name, compose

    async def _metadata(self, params: SourceParams) -> SourceMetadata:
        body = await self._content.get(params.metadata_url, limit=METADATA_LIMIT)
        try:
            document: Any = read_json(body)
        except (ValueError, RecursionError) as error:
            text = f"the source's metadata is not JSON: {error}"
            raise FetchError(text, code="metadata.not_json", retry=Retry.LATER) from error
        if not isinstance(document, dict):
            raise FetchError("the source's metadata is not an object", code="metadata.not_json", retry=Retry.LATER)
        urls = {env: document[env.label] for env in Environment if isinstance(document.get(env.label), str)}
        return SourceMetadata(
            name=str(document.get("name") or "")[:200],
            description=str(document.get("description") or "")[:2000],
            compose_urls={env: url for env, url in urls.items() if url},
        )

    async def _compose(self, metadata: SourceMetadata, environment: Environment) -> bytes:
        url = metadata.compose_urls.get(environment)
        if not url:
            text = f"the source's metadata names no compose file for {environment.label}"
            raise ProviderError(text, code="metadata.no_compose", retry=Retry.LATER)
        return await self._content.get(url, limit=COMPOSE_LIMIT)
