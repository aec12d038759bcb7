"""Questions to the gateway's file about orders."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from ogpu_provider.domain.intent import IntentRow
from ogpu_provider.domain.order import Order, OrderEvent, OrderState
from ogpu_provider.domain.units import Address
from ogpu_provider.store.reading import Reading
from ogpu_provider.store.rows import Row, intent_of

COLUMNS = tuple(f.name for f in fields(Order))
SMALL = 64 << 10
"""Bytes of a result that is read with its order."""
LIVE = "state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED')"


@dataclass(frozen=True, slots=True)
class WholeOrder:
    """`sent`: its transactions, in the order of its life. `result`: what was fetched, None where nothing was; one byte
    more than SMALL where it is larger."""

    order: Order
    history: Sequence[OrderEvent]
    sent: Sequence[IntentRow]
    result: bytes | None


class OrderReads(Reading):
    """Every method may raise StoreError."""

    async def order(self, order_id: str, *, owner: str | None = None) -> Order | None:
        """With an `owner`, None for what belongs to another."""
        sql = "SELECT * FROM orders WHERE id = ? AND owner = coalesce(?, owner)"
        return await self._one(sql, order_of, order_id, owner)

    async def whole(self, order_id: str, owner: str, intents: Sequence[str]) -> WholeOrder | None:
        """An owner's order with its history, its result, and what was sent for it under these keys; one snapshot."""

        def work(connection: sqlite3.Connection) -> WholeOrder | None:
            row = connection.execute("SELECT * FROM orders WHERE id = ? AND owner = ?", (order_id, owner)).fetchone()
            if row is None:
                return None
            lines = connection.execute('SELECT * FROM events WHERE "order" = ? ORDER BY seq', (order_id,))
            history = [_event_of(line) for line in lines]
            sent = [connection.execute("SELECT * FROM intents WHERE key = ?", (key,)).fetchone() for key in intents]
            sql = 'SELECT substr(body, 1, ?) AS body FROM results WHERE "order" = ?'
            result = connection.execute(sql, (SMALL + 1, order_id)).fetchone()
            return WholeOrder(
                order_of(row),
                history,
                [intent_of(one) for one in sent if one],
                bytes(result["body"]) if result else None,
            )

        return await self._database.read(work)

    async def order_at(self, address: Address) -> Order | None:
        return await self._one("SELECT * FROM orders WHERE address = ?", order_of, address)

    async def live(self) -> list[Order]:
        """Those that are not over."""
        return await self._all(f"SELECT * FROM orders WHERE {LIVE} ORDER BY seq", order_of)  # noqa: S608

    async def unpinned(self, *, limit: int) -> list[Order]:
        """Those whose config is to be published, the oldest first."""
        sql = "SELECT * FROM orders WHERE pinned = 0 AND state = 'CREATED' ORDER BY seq LIMIT ?"
        return await self._all(sql, order_of, limit)

    async def unsettled(self, after: int, *, limit: int) -> list[tuple[int, Order]]:
        """Pinned or on chain, and not over, or failed and not refunded; with their positions, behind `after`."""
        sql = (
            f"SELECT * FROM orders WHERE seq > ? AND (pinned OR address IS NOT NULL) AND ({LIVE} "  # noqa: S608
            "OR (state = 'FAILED' AND NOT refunded)) ORDER BY seq LIMIT ?"
        )
        return await self._all(sql, lambda row: (row["seq"], order_of(row)), after, limit)

    async def orders(
        self,
        owner: str,
        *,
        state: OrderState | None = None,
        model_id: str | None = None,
        user_address: str | None = None,
        offset: int = 0,
        limit: int = 20,
    ) -> tuple[list[Order], int]:
        """A page of an owner's orders, newest first, and how many there are."""
        asked = {"state": state, "model_id": model_id, "user_address": user_address}
        chosen = {name: value for name, value in asked.items() if value is not None}
        where = " AND ".join(["owner = ?", *(f"{name} = ?" for name in chosen)])
        page = f"SELECT * FROM orders WHERE {where} ORDER BY seq DESC LIMIT ? OFFSET ?"  # noqa: S608
        total = f"SELECT count(*) AS n FROM orders WHERE {where}"  # noqa: S608
        values = (owner, *chosen.values())

        def work(connection: sqlite3.Connection) -> tuple[list[Order], int]:
            found = [order_of(row) for row in connection.execute(page, (*values, limit, offset))]
            return found, int(connection.execute(total, values).fetchone()["n"])

        return await self._database.read(work)

    async def usage(self, owner: str, *, since: float) -> tuple[int, float]:
        """How many orders were made at or after `since`, and when the first of them was, in unix seconds."""
        sql = (
            "SELECT count(*) AS n, coalesce(min(created_at), 0) AS first FROM orders "
            "WHERE owner = ? AND created_at >= ?"
        )
        return await self._one(sql, lambda row: (row["n"], row["first"]), owner, since) or (0, 0.0)

    async def config(self, order_id: str) -> bytes | None:
        return await self._one('SELECT body FROM configs WHERE "order" = ?', lambda row: bytes(row["body"]), order_id)

    async def result(self, order_id: str) -> bytes | None:
        """Up to 32 MiB."""
        sql = 'SELECT body FROM results WHERE "order" = ? AND length(body) BETWEEN ? AND ?'

        def work(least: int, most: int) -> Callable[[sqlite3.Connection], bytes | None]:
            def found(connection: sqlite3.Connection) -> bytes | None:
                row = connection.execute(sql, (order_id, least, most)).fetchone()
                return bytes(row["body"]) if row else None

            return found

        small = await self._database.read(work(0, SMALL))
        return small if small is not None else await self._database.read(work(SMALL + 1, 1 << 40), long=True)

    async def history(self, order_id: str) -> list[OrderEvent]:
        return await self._all('SELECT * FROM events WHERE "order" = ? ORDER BY seq', _event_of, order_id)

    async def events(
        self, after: int, *, owner: str | None = None, order: str | None = None, limit: int = 1000
    ) -> list[OrderEvent]:
        """The history behind position `after`: of all orders, of an owner's, or of one order."""
        if order is not None:
            sql = 'SELECT * FROM events WHERE "order" = ? AND seq > ? ORDER BY seq LIMIT ?'
            return await self._all(sql, _event_of, order, after, limit)
        if owner is not None:
            sql = "SELECT * FROM events WHERE owner = ? AND seq > ? ORDER BY seq LIMIT ?"
            return await self._all(sql, _event_of, owner, after, limit)
        return await self._all("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?", _event_of, after, limit)

    async def last_event(self) -> int:
        """The newest position in the history of all orders."""
        return await self._one("SELECT coalesce(max(seq), 0) AS seq FROM events", lambda row: int(row["seq"])) or 0

    async def counts(self) -> dict[str, int]:
        """Orders by state."""
        sql = "SELECT state, count(*) AS n FROM orders GROUP BY state"
        return await self._database.read(lambda c: {row["state"]: row["n"] for row in c.execute(sql)}, long=True)


def order_of(row: Row) -> Order:
    values = {name: row[name] for name in COLUMNS}
    values |= {"state": OrderState(row["state"]), "payment": int(row["payment"])}
    return Order(**values | {"pinned": bool(row["pinned"]), "refunded": bool(row["refunded"])})


def _event_of(row: Row) -> OrderEvent:
    return OrderEvent(row["seq"], row["order"], row["owner"], row["at"], row["kind"], json.loads(row["detail"]))
