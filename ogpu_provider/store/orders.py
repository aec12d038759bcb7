"""The gateway's file. An order, its transaction, its line of history and what its user is told commit together."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import Intent, IntentRow
from ogpu_provider.domain.order import Order, OrderEvent, OrderState, Quota
from ogpu_provider.domain.units import Address, Hash, Wei
from ogpu_provider.store.database import Database
from ogpu_provider.store.deliveries import Deliveries, note_deliveries
from ogpu_provider.store.members import Members
from ogpu_provider.store.outbox import OutboxWriter, add, plan_intent
from ogpu_provider.store.rows import Row, Values, intent_of

SCHEMA = "gateway"
_COLUMNS = tuple(f.name for f in fields(Order))
_DAY = 86_400
_HOUR = 3600
_LIVE = "state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED')"


class GatewayStore(Members, Deliveries, OutboxWriter):
    """Implements the sender's `Outbox` too; an intent waits until its order's config is pinned.

    `heard` is called after each line of history that is durable. Every method may raise StoreError.
    """

    def __init__(self, database: Database, heard: Callable[[], None] = lambda: None) -> None:
        super().__init__(database)
        self.heard = heard

    @classmethod
    async def open(cls, path: Path, *, chain_id: int, client: Address) -> Self:
        """For the gateway itself: one process, one client, one chain.

        Raises StoreError store.other_chain, store.other_client, and as `Database.open`.
        """
        database = Database(path, readonly=False, schema=SCHEMA)
        await database.open()
        try:
            await database.write(lambda c: _claim(c, path, chain_id, client))
        except BaseException:
            await database.close()
            raise
        return cls(database)

    @classmethod
    async def beside(cls, path: Path) -> Self:
        """For a command, also while the gateway runs: it makes the file where there is none."""
        try:
            database = Database(path, readonly=False, schema=SCHEMA)
            await database.open()
        except StoreError as error:
            if error.code != "store.locked":
                raise
            database = Database(path, readonly=False, schema=SCHEMA, shared=True)
            await database.open()
        return cls(database)

    # orders

    async def create(
        self,
        order: Order,
        config: bytes,
        intent: Intent,
        *,
        budget: Wei | None,
        quota: Quota | None,
        once: tuple[str, str] | None,
    ) -> Order:
        """Commit an order, its transaction and its idempotency record together, and return the order.

        `once`: idempotency key and fingerprint of the request; the same pair again returns the first order. Raises
        StoreError gateway.reused_key for another request under the same key, gateway.budget where the day's is spent,
        gateway.hourly and gateway.concurrent where the quota is.
        """

        def work(connection: sqlite3.Connection) -> Order:
            if once and (first := _first(connection, order.owner, *once)):
                return first
            if quota is not None:
                _check_quota(connection, order, quota)
            if budget is not None and _spent(connection, order) + order.payment > budget:
                raise StoreError("the key's budget for today is spent", code="gateway.budget")
            add(connection, "orders", _values(order))
            add(connection, "configs", {"order": order.id, "body": config})
            plan_intent(connection, intent, order.created_at)
            if once:
                row: Values = {"owner": order.owner, "key": once[0], "fingerprint": once[1], "order": order.id}
                add(connection, "idempotency", row)
            _note(connection, order, "created", {"config": order.config_url})
            return order

        made = await self._database.write(work)
        self.heard()
        return made

    async def move(
        self,
        order: Order,
        kind: str,
        *,
        at: float,
        intent: Intent | None = None,
        detail: Mapping[str, object] | None = None,
        **changes: Any,
    ) -> Order:
        """Save changed fields with their line of history, and the transaction that they ask for."""
        moved = replace(order, **changes, updated_at=at)

        def work(connection: sqlite3.Connection) -> Order:
            columns = ", ".join(f"{name} = ?" for name in _COLUMNS)
            sql = f"UPDATE orders SET {columns} WHERE id = ? AND updated_at = ? AND state = ?"  # noqa: S608
            guard = (order.id, order.updated_at, order.state)
            if connection.execute(sql, (*_values(moved).values(), *guard)).rowcount == 0:
                raise StoreError(f"{order.id} was moved by somebody else", code="store.stale")
            if intent is not None:
                plan_intent(connection, intent, at)
            _note(connection, moved, kind, json.loads(json.dumps({**changes, **(detail or {})}, default=str)))
            return moved

        made = await self._database.write(work)
        self.heard()
        return made

    async def order(self, order_id: str, *, owner: str | None = None) -> Order | None:
        """With an `owner`, None for what belongs to another."""
        sql = "SELECT * FROM orders WHERE id = ? AND owner = coalesce(?, owner)"
        return await self._one(sql, _order_of, order_id, owner)

    async def order_at(self, address: Address) -> Order | None:
        return await self._one("SELECT * FROM orders WHERE address = ?", _order_of, address)

    async def live(self) -> list[Order]:
        """Those that are not over."""
        return await self._all(f"SELECT * FROM orders WHERE {_LIVE} ORDER BY seq", _order_of)  # noqa: S608

    async def unpinned(self, *, limit: int) -> list[Order]:
        """Those whose config is to be published, the oldest first."""
        sql = "SELECT * FROM orders WHERE pinned = 0 AND state = 'CREATED' ORDER BY seq LIMIT ?"
        return await self._all(sql, _order_of, limit)

    async def unsettled(self, after: int, *, limit: int) -> list[tuple[int, Order]]:
        """On chain and not over, or failed and not refunded; with their positions, behind position `after`."""
        sql = (
            f"SELECT * FROM orders WHERE seq > ? AND address IS NOT NULL AND ({_LIVE} "  # noqa: S608
            "OR (state = 'FAILED' AND NOT refunded)) ORDER BY seq LIMIT ?"
        )
        return await self._all(sql, lambda row: (row["seq"], _order_of(row)), after, limit)

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
        found = await self._all(page, _order_of, owner, *chosen.values(), limit, offset)
        return found, await self._one(total, lambda row: int(row["n"]), owner, *chosen.values()) or 0

    async def usage(self, owner: str, *, since: float) -> tuple[int, float]:
        """How many orders were made at or after `since`, and when the first of them was, in unix seconds."""
        sql = (
            "SELECT count(*) AS n, coalesce(min(created_at), 0) AS first FROM orders "
            "WHERE owner = ? AND created_at >= ?"
        )
        return await self._one(sql, lambda row: (row["n"], row["first"]), owner, since) or (0, 0.0)

    async def config(self, order_id: str) -> bytes | None:
        return await self._one('SELECT body FROM configs WHERE "order" = ?', lambda row: bytes(row["body"]), order_id)

    async def put_result(self, order_id: str, body: bytes) -> None:
        sql = 'INSERT OR REPLACE INTO results ("order", body) VALUES (?, ?)'
        await self._database.write(lambda c: c.execute(sql, (order_id, body)))

    async def result(self, order_id: str) -> bytes | None:
        return await self._one('SELECT body FROM results WHERE "order" = ?', lambda row: bytes(row["body"]), order_id)

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
        rows = await self._all("SELECT state, count(*) AS n FROM orders GROUP BY state", lambda row: (row[0], row[1]))
        return dict(rows)

    # the chain's side

    async def open_intents(self) -> list[IntentRow]:
        """Without those whose order's config is not pinned: what is published must be readable."""
        sql = (
            "SELECT * FROM intents WHERE state NOT IN ('confirmed', 'reverted', 'abandoned') AND NOT EXISTS "
            "(SELECT 1 FROM orders JOIN meta ON meta.key = 'chain_id' WHERE pinned = 0 AND orders.state = 'CREATED' "
            "AND intents.key = meta.value || ':publishTask:' || orders.id) "
            "ORDER BY seq"
        )
        return await self._all(sql, intent_of)

    async def cursor(self) -> tuple[int, Hash] | None:
        return await self._one("SELECT number, hash FROM cursor", lambda row: (row["number"], Hash(row["hash"])))

    async def set_cursor(self, block: Block) -> None:
        sql = "INSERT OR REPLACE INTO cursor (only, number, hash) VALUES (1, ?, ?)"
        await self._database.write(lambda c: c.execute(sql, (block.number, block.hash)))


def _claim(connection: sqlite3.Connection, path: Path, chain_id: int, client: Address) -> None:
    for key, value in (("chain_id", str(chain_id)), ("client", client)):
        connection.execute("INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", (key, value))
        (stored,) = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        if stored != value:
            noun = key.removesuffix("_id")
            raise StoreError(f"{path} belongs to {noun} {stored}, not {value}", code=f"store.other_{noun}")


def _first(connection: sqlite3.Connection, owner: str, key: str, fingerprint: str) -> Order | None:
    sql = "SELECT * FROM idempotency WHERE owner = ? AND key = ?"
    row = connection.execute(sql, (owner, key)).fetchone()
    if row is None:
        return None
    if row["fingerprint"] != fingerprint:
        raise StoreError("this Idempotency-Key was used for another request", code="gateway.reused_key")
    return _order_of(connection.execute("SELECT * FROM orders WHERE id = ?", (row["order"],)).fetchone())


def _made(connection: sqlite3.Connection, owner: str, since: float) -> int:
    sql = "SELECT count(*) FROM orders WHERE owner = ? AND created_at >= ?"
    return int(connection.execute(sql, (owner, since)).fetchone()[0])


def _live(connection: sqlite3.Connection, owner: str) -> int:
    sql = f"SELECT count(*) FROM orders WHERE owner = ? AND {_LIVE}"  # noqa: S608
    return int(connection.execute(sql, (owner,)).fetchone()[0])


def _check_quota(connection: sqlite3.Connection, order: Order, quota: Quota) -> None:
    if _made(connection, order.owner, order.created_at - _HOUR) >= quota.hourly:
        raise StoreError(f"{quota.hourly} tasks an hour", code="gateway.hourly")
    if _live(connection, order.owner) >= quota.concurrent:
        raise StoreError(f"{quota.concurrent} tasks at once", code="gateway.concurrent")


def _spent(connection: sqlite3.Connection, order: Order) -> Wei:
    """What the owner's orders of the same UTC day cost, without those whose payment came back."""
    day = order.created_at // _DAY * _DAY
    sql = "SELECT payment FROM orders WHERE owner = ? AND created_at >= ? AND NOT refunded"
    return sum(int(row["payment"]) for row in connection.execute(sql, (order.owner, day)))


def _note(connection: sqlite3.Connection, order: Order, kind: str, detail: Values) -> None:
    line: Values = {"order": order.id, "owner": order.owner, "at": order.updated_at, "kind": kind}
    add(connection, "events", line | {"detail": json.dumps(detail)})
    (written,) = connection.execute("SELECT last_insert_rowid()").fetchone()
    note_deliveries(connection, order, kind, written)


def _values(order: Order) -> Values:
    return {name: getattr(order, name) for name in _COLUMNS} | {"payment": str(order.payment)}


def _order_of(row: Row) -> Order:
    values = {name: row[name] for name in _COLUMNS}
    values |= {"state": OrderState(row["state"]), "payment": int(row["payment"])}
    return Order(**values | {"pinned": bool(row["pinned"]), "refunded": bool(row["refunded"])})


def _event_of(row: Row) -> OrderEvent:
    return OrderEvent(row["seq"], row["order"], row["owner"], row["at"], row["kind"], json.loads(row["detail"]))
