"""The sources that we serve or mean to, in memory."""

from collections.abc import Callable

from ogpu_provider.domain.source import ServedSource
from ogpu_provider.domain.units import Address


class SourceBook:
    """As the stages see them; the rows are written by the source keeper.

    `paired`: until the master removes us. `paused`: the operator wants no new task; what is owed goes on.
    `demand` is told of a task for a source whose containers are down.
    """

    def __init__(self) -> None:
        self._rows: dict[Address, ServedSource] = {}
        self.paired = True
        self.paused = False
        self.demand: Callable[[Address], None] = lambda _source: None

    def get(self, address: Address) -> ServedSource | None:
        return self._rows.get(address)

    def put(self, source: ServedSource) -> None:
        self._rows[source.address] = source

    def all(self) -> list[ServedSource]:
        return list(self._rows.values())
