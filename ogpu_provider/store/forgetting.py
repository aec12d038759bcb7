"""Orders that were over long ago leave the gateway's file, with all that was kept of them."""

import sqlite3
from collections.abc import Sequence

from ogpu_provider.store.reading import Reading

_OF_AN_ORDER = ("configs", "results", "events", "deliveries", "idempotency", "ends")


class Forgetting(Reading):
    async def forget(self, before: float, *, limit: int) -> int:
        """Drop orders that were over before that time (unix seconds), and their transactions; `limit` at most, how
        many there were. The highest nonce is kept: it says where the next one begins. Raises StoreError."""

        def work(connection: sqlite3.Connection) -> int:
            sql = (
                "SELECT id FROM orders WHERE state IN ('COMPLETED', 'FAILED', 'CANCELLED') AND updated_at < ? "
                "ORDER BY updated_at LIMIT ?"
            )
            found = [row["id"] for row in connection.execute(sql, (before, limit))]
            for order in found:
                for table in _OF_AN_ORDER:
                    connection.execute(f'DELETE FROM {table} WHERE "order" = ?', (order,))  # noqa: S608
                connection.execute("DELETE FROM orders WHERE id = ?", (order,))
                _forget_intents(connection, order)
            return len(found)

        return await self._database.write(work)


def _forget_intents(connection: sqlite3.Connection, order: str) -> None:
    for key in _intents(connection, order):
        sql = "DELETE FROM signed WHERE intent_key = ? AND nonce < (SELECT max(nonce) FROM signed)"
        connection.execute(sql, (key,))
        sql = "DELETE FROM intents WHERE key = ? AND NOT EXISTS (SELECT 1 FROM signed WHERE intent_key = key)"
        connection.execute(sql, (key,))


def _intents(connection: sqlite3.Connection, order: str) -> Sequence[str]:
    """Of what was sent for an order, what is closed: nobody will ask the chain about it any more."""
    (chain,) = connection.execute("SELECT value FROM meta WHERE key = 'chain_id'").fetchone()
    keys = [f"{chain}:{effect}:{order}" for effect in ("publishTask", "cancelTask", "confirmResponse")]
    sql = "SELECT key FROM intents WHERE key IN (?, ?, ?) AND state IN ('confirmed', 'reverted', 'abandoned')"
    return [row["key"] for row in connection.execute(sql, keys)]
