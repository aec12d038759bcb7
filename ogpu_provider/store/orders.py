"""The gateway's file. An order, its transaction, its line of history and what its user is told commit together."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import Intent, IntentRow
from ogpu_provider.domain.order import Order, Quota
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.store.database import Database
from ogpu_provider.store.deliveries import Deliveries, note_deliveries
from ogpu_provider.store.ends import Ends, note_end
from ogpu_provider.store.forgetting import Forgetting
from ogpu_provider.store.members import Members
from ogpu_provider.store.order_reader import COLUMNS, LIVE, OrderReads, order_of
from ogpu_provider.store.outbox import OutboxWriter, add, claim, plan_intent, put_cursor
from ogpu_provider.store.rows import Values, intent_of

SCHEMA = "gateway"
_DAY = 86_400
_HOUR = 3600


class GatewayStore(Members, Deliveries, OrderReads, Ends, Forgetting, OutboxWriter):
    """Implements the sender's `Outbox` too; an intent waits until its order's config is pinned.

    `heard` is called after each line of history that is durable. Every method may raise StoreError.
    """

    def __init__(self, database: Database, heard: Callable[[], None] = lambda: None) -> None:
        super().__init__(database)
        self.heard = heard

    @classmethod
    async def open(cls, path: Path, *, chain_id: int, client: Address, second: bool = False) -> Self:
        """For the gateway itself: one client, one chain. `second`: its other half has the file open.

        Raises StoreError store.other_chain, store.other_client, and as `Database.open`.
        """
        database = Database(path, readonly=False, schema=SCHEMA, shared=second, at_once=True, turns=True)
        await database.open()
        try:
            await database.write(lambda c: claim(c, path, chain_id, "client", client))
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

    async def first(self, owner: str, once: str, fingerprint: str) -> Order | None:
        """The order made under an idempotency key. Raises StoreError gateway.reused_key, as `create`."""
        return await self._database.read(lambda c: _first(c, owner, once, fingerprint))

    async def move(
        self,
        order: Order,
        kind: str,
        *,
        at: float,
        intent: Intent | None = None,
        height: int | None = None,
        detail: Mapping[str, object] | None = None,
        **changes: Any,
    ) -> Order:
        """Save changed fields with their line of history, and the transaction that they ask for.

        `height`: how high the chain was that ends the order.
        """
        moved = replace(order, **changes, updated_at=at)

        def work(connection: sqlite3.Connection) -> Order:
            columns = ", ".join(f"{name} = ?" for name in COLUMNS)
            sql = f"UPDATE orders SET {columns} WHERE id = ? AND updated_at = ? AND state = ?"  # noqa: S608
            guard = (order.id, order.updated_at, order.state)
            if moved.address is not None and moved.address != order.address:
                _take_from_others(connection, moved)
            if connection.execute(sql, (*_values(moved).values(), *guard)).rowcount == 0:
                raise StoreError(f"{order.id} was moved by somebody else", code="store.stale")
            if intent is not None:
                plan_intent(connection, intent, at)
            note_end(connection, moved, height)
            if order.result_url and not moved.result_url:
                connection.execute('DELETE FROM results WHERE "order" = ?', (order.id,))
            _note(connection, moved, kind, json.loads(json.dumps({**changes, **(detail or {})}, default=str)))
            return moved

        made = await self._database.write(work)
        self.heard()
        return made

    async def put_result(self, order_id: str, body: bytes) -> None:
        sql = 'INSERT OR REPLACE INTO results ("order", body) VALUES (?, ?)'
        await self._database.write(lambda c: c.execute(sql, (order_id, body)))

    # the chain's side

    async def planned_intents(self) -> list[IntentRow]:
        """Without those whose order's config is not pinned: what is published must be readable."""
        sql = (
            "SELECT * FROM intents WHERE state NOT IN ('confirmed', 'reverted', 'abandoned') AND state = 'planned' "
            "AND key NOT IN (SELECT meta.value || ':publishTask:' || orders.id FROM meta, orders "
            "WHERE meta.key = 'chain_id' AND orders.pinned = 0 AND orders.state = 'CREATED') ORDER BY seq"
        )
        return await self._all(sql, intent_of)

    async def set_cursor(self, block: Block) -> None:
        await self._database.write(lambda c: put_cursor(c, block))


def _first(connection: sqlite3.Connection, owner: str, key: str, fingerprint: str) -> Order | None:
    sql = "SELECT * FROM idempotency WHERE owner = ? AND key = ?"
    row = connection.execute(sql, (owner, key)).fetchone()
    if row is None:
        return None
    if row["fingerprint"] != fingerprint:
        raise StoreError("this Idempotency-Key was used for another request", code="gateway.reused_key")
    return order_of(connection.execute("SELECT * FROM orders WHERE id = ?", (row["order"],)).fetchone())


def _take_from_others(connection: sqlite3.Connection, published: Order) -> None:
    """A task's address follows from how many were made before it: where blocks were undone, one that had it is no more
    at it, and what is there is another one's."""
    held = "SELECT * FROM orders WHERE address = ? AND id <> ?"
    for row in connection.execute(held, (published.address, published.id)).fetchall():
        other = replace(order_of(row), address=None, updated_at=max(published.updated_at, row["updated_at"] + 1e-6))
        sql = "UPDATE orders SET address = NULL, updated_at = ? WHERE id = ?"
        connection.execute(sql, (other.updated_at, other.id))
        _note(connection, other, "publication_undone", {"was": published.address})


def _made(connection: sqlite3.Connection, owner: str, since: float) -> int:
    sql = "SELECT count(*) FROM orders WHERE owner = ? AND created_at >= ?"
    return int(connection.execute(sql, (owner, since)).fetchone()[0])


def _live(connection: sqlite3.Connection, owner: str) -> int:
    sql = f"SELECT count(*) FROM orders WHERE owner = ? AND {LIVE}"  # noqa: S608
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
    return {name: getattr(order, name) for name in COLUMNS} | {"payment": str(order.payment)}
