"""Webhooks to be told, in the file of the orders that they tell of."""

import json
import sqlite3
from dataclasses import asdict

from ogpu_provider.domain.order import Order
from ogpu_provider.domain.webhook import KINDS, Delivery, DeliveryState, Endpoint, payload
from ogpu_provider.store.outbox import add
from ogpu_provider.store.reading import Reading
from ogpu_provider.store.rows import Row


class Deliveries(Reading):
    """Every method may raise StoreError."""

    async def due(self, at: float, *, limit: int) -> list[Delivery]:
        """What is to be told now, the longest due first; nothing of an endpoint that is disabled."""
        sql = (
            "SELECT * FROM deliveries WHERE state = 'pending' AND next_at <= ? AND NOT EXISTS (SELECT 1 FROM disabled "
            "WHERE disabled.owner = deliveries.owner AND disabled.url = deliveries.url) ORDER BY next_at, seq LIMIT ?"
        )
        return await self._all(sql, _delivery_of, at, limit)

    async def next_due(self) -> float | None:
        """When the next one is due, in unix seconds."""
        sql = (
            "SELECT min(next_at) AS at FROM deliveries WHERE state = 'pending' AND NOT EXISTS (SELECT 1 FROM disabled "
            "WHERE disabled.owner = deliveries.owner AND disabled.url = deliveries.url)"
        )
        found: float | None = await self._one(sql, lambda row: row["at"])
        return found

    async def put_try(self, delivery: Delivery) -> None:
        """Save what came of a try."""
        sql = "UPDATE deliveries SET tries = ?, next_at = ?, state = ?, answer = ? WHERE id = ?"
        values = (delivery.tries, delivery.next_at, delivery.state, delivery.answer, delivery.id)
        await self._database.write(lambda c: c.execute(sql, values))

    async def deliveries(
        self, *, state: DeliveryState | None = None, order: str | None = None, limit: int = 100
    ) -> list[Delivery]:
        """The newest first."""
        sql = (
            'SELECT * FROM deliveries WHERE state = coalesce(?, state) AND "order" = coalesce(?, "order") '
            "ORDER BY seq DESC LIMIT ?"
        )
        return await self._all(sql, _delivery_of, state, order, limit)

    async def replay(self, at: float, *, delivery: str | None = None, url: str | None = None) -> int:
        """Tell one again, or all that failed at an endpoint; how many. Their schedule starts anew."""
        sql = (
            "UPDATE deliveries SET state = 'pending', tries = 0, next_at = ? "
            "WHERE id = ? OR (url = ? AND state = 'failed')"
        )
        return await self._database.write(lambda c: c.execute(sql, (at, delivery, url)).rowcount)

    async def disable(self, url: str, why: str, *, at: float, owner: str | None = None) -> int:
        """Tell this endpoint nothing more, one owner's or everybody's; of how many owners."""

        def work(connection: sqlite3.Connection) -> int:
            sql = "SELECT DISTINCT owner FROM deliveries WHERE url = ? AND owner = coalesce(?, owner)"
            owners = [row["owner"] for row in connection.execute(sql, (url, owner))]
            for one in owners:
                row = (one, url, at, why)
                connection.execute("INSERT OR REPLACE INTO disabled (owner, url, at, why) VALUES (?, ?, ?, ?)", row)
            return len(owners)

        return await self._database.write(work)

    async def enable(self, url: str) -> int:
        return await self._database.write(lambda c: c.execute("DELETE FROM disabled WHERE url = ?", (url,)).rowcount)

    async def endpoints(self) -> list[Endpoint]:
        sql = (
            "SELECT deliveries.owner, deliveries.url, sum(state = 'pending') AS pending, "
            "sum(state = 'delivered') AS delivered, sum(state = 'failed') AS failed, "
            "coalesce(max(disabled.why), '') AS why FROM deliveries LEFT JOIN disabled "
            "ON disabled.owner = deliveries.owner AND disabled.url = deliveries.url "
            "GROUP BY deliveries.owner, deliveries.url ORDER BY deliveries.url, deliveries.owner"
        )
        return await self._all(sql, _endpoint_of)


def note_deliveries(connection: sqlite3.Connection, order: Order, kind: str, line: int) -> None:
    """In the transaction that moves the order; `line` is the line of history that is told."""
    for name in KINDS.get(kind, ()) if order.callback_url else ():
        body = json.dumps(payload(name, order), separators=(",", ":")).encode()
        told = Delivery(
            id=f"msg_{line}_{name.replace('.', '_')}",
            owner=order.owner,
            order=order.id,
            url=order.callback_url,
            kind=name,
            body=body,
            made_at=order.updated_at,
            next_at=order.updated_at,
        )
        add(connection, "deliveries", asdict(told))


def _delivery_of(row: Row) -> Delivery:
    names = ("id", "owner", "order", "url", "kind", "body", "made_at", "next_at", "tries", "answer")
    return Delivery(**{name: row[name] for name in names}, state=DeliveryState(row["state"]))


def _endpoint_of(row: Row) -> Endpoint:
    counts = (row["pending"], row["delivered"], row["failed"])
    return Endpoint(row["owner"], row["url"], *counts, row["why"])
