"""The rows of sources: in the book at once, in the journal before anything follows from them."""

from collections.abc import Callable
from dataclasses import replace

from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.source import ServedSource, SourceState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.ports import Ports


class Unfit(ProviderError):
    """This host cannot serve the source; trying again helps only when something changes."""

    default_code = "source.unfit"


class SourceRows:
    """`on_change` is told of each source whose row was written."""

    def __init__(self, ports: Ports, on_change: Callable[[Address], None]) -> None:
        self._ports = ports
        self._on_change = on_change

    def of(self, address: Address) -> ServedSource:
        """That of a source that nobody knows yet, too."""
        return self._ports.book.get(address) or ServedSource(address, SourceState.WANTED)

    async def put(self, row: ServedSource) -> None:
        row = replace(row, updated_at=self._ports.clock.now())
        self._ports.book.put(row)
        await self._ports.journal.save_source(row)
        self._on_change(row.address)
