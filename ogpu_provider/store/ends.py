"""What the ends of orders rest on: how high the chain was when each was read from it. Ends are read again once they
are deep, and again where blocks below were undone."""

import sqlite3

from ogpu_provider.domain.order import Order
from ogpu_provider.store.order_reader import order_of
from ogpu_provider.store.reading import Reading


class Ends(Reading):
    """Every method may raise StoreError."""

    async def unsettled_ends(self, height: int, after: int, *, limit: int) -> list[tuple[int, Order, int]]:
        """Orders whose end was read at `height` or below and not again since; each with its position, and the height
        that it was read at. Behind position `after`."""
        sql = (
            'SELECT orders.*, ends.height AS height FROM ends JOIN orders ON orders.id = ends."order" '
            "WHERE NOT ends.settled AND ends.height <= ? AND orders.seq > ? ORDER BY orders.seq LIMIT ?"
        )
        return await self._all(sql, lambda row: (row["seq"], order_of(row), row["height"]), height, after, limit)

    async def settle_end(self, order_id: str, *, was: int, height: int) -> None:
        """It was read again at `height`; nothing where blocks were undone since it was read at `was`."""
        sql = 'UPDATE ends SET settled = 1, height = ? WHERE "order" = ? AND height = ?'
        await self._database.write(lambda c: c.execute(sql, (height, order_id, was)))

    async def doubt_ends(self, above: int) -> int:
        """Blocks above this height were undone: what was read in them is to be read again. Of how many orders."""
        sql = "UPDATE ends SET settled = 0, height = ? WHERE height > ?"
        return await self._database.write(lambda c: c.execute(sql, (above, above)).rowcount)


def note_end(connection: sqlite3.Connection, order: Order, height: int | None) -> None:
    """In the transaction that moves the order. None: its end is no word of the chain."""
    if order.state.over and height is not None:
        sql = 'INSERT OR REPLACE INTO ends ("order", height, settled) VALUES (?, ?, 0)'
        connection.execute(sql, (order.id, height))
    elif not order.state.over:
        connection.execute('DELETE FROM ends WHERE "order" = ?', (order.id,))
