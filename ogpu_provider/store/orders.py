"""The gateway's file: orders, transactions, models and keys. An order and its transaction commit together."""

import json
import sqlite3
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Self

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import Intent, IntentRow
from ogpu_provider.domain.order import ApiKey, Model, Order, OrderEvent, OrderState
from ogpu_provider.domain.units import Address, Hash, Wei
from ogpu_provider.store.database import Database
from ogpu_provider.store.outbox import OutboxWriter, add, insert_sql, plan_intent
from ogpu_provider.store.rows import Row, Values, intent_of

SCHEMA = "gateway"
_COLUMNS = tuple(f.name for f in fields(Order))
_DAY = 86_400


class GatewayStore(OutboxWriter):
    """Implements the sender's `Outbox` too; an intent waits until its order's config is pinned.

    Every method may raise StoreError.
    """

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

    # what users have

    async def put_model(self, model: Model) -> None:
        values = asdict(model) | {"price": str(model.price)}
        sql = insert_sql("models", values, "OR REPLACE")
        await self._database.write(lambda c: c.execute(sql, tuple(values.values())))

    async def drop_model(self, model_id: str) -> bool:
        return await self._database.write(
            lambda c: c.execute("DELETE FROM models WHERE id = ?", (model_id,)).rowcount == 1
        )

    async def models(self) -> list[Model]:
        return await self._all("SELECT * FROM models ORDER BY id", _model_of)

    async def model(self, model_id: str) -> Model | None:
        return await self._one("SELECT * FROM models WHERE id = ?", _model_of, model_id)

    async def add_key(self, key: ApiKey) -> None:
        budget = None if key.day_budget is None else str(key.day_budget)
        values = asdict(key) | {"scopes": json.dumps(key.scopes), "day_budget": budget}
        await self._database.write(lambda c: add(c, "keys", values))

    async def keys(self) -> list[ApiKey]:
        return await self._all("SELECT * FROM keys ORDER BY created_at", _key_of)

    async def key_of(self, digest: str) -> ApiKey | None:
        return await self._one("SELECT * FROM keys WHERE digest = ?", _key_of, digest)

    async def revoke_key(self, key_id: str, *, at: float) -> bool:
        sql = "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
        return await self._database.write(lambda c: c.execute(sql, (at, key_id)).rowcount == 1)

    # orders

    async def create(
        self, order: Order, config: bytes, intent: Intent, *, budget: Wei | None, once: tuple[str, str] | None
    ) -> Order:
        """Commit an order, its transaction and its idempotency record together, and return the order.

        `once`: idempotency key and fingerprint of the request; the same pair again returns the first order. Raises
        StoreError gateway.reused_key for another request under the same key, gateway.budget where the day's is spent.
        """

        def work(connection: sqlite3.Connection) -> Order:
            if once and (first := _first(connection, order.owner, *once)):
                return first
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

        return await self._database.write(work)

    async def move(self, order: Order, kind: str, *, at: float, intent: Intent | None = None, **changes: Any) -> Order:
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
            _note(connection, moved, kind, json.loads(json.dumps(changes, default=str)))
            return moved

        return await self._database.write(work)

    async def order(self, order_id: str, *, owner: str | None = None) -> Order | None:
        """With an `owner`, None for what belongs to another."""
        sql = "SELECT * FROM orders WHERE id = ? AND owner = coalesce(?, owner)"
        return await self._one(sql, _order_of, order_id, owner)

    async def order_at(self, address: Address) -> Order | None:
        return await self._one("SELECT * FROM orders WHERE address = ?", _order_of, address)

    async def live(self) -> list[Order]:
        sql = "SELECT * FROM orders WHERE state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED') ORDER BY seq"
        return await self._all(sql, _order_of)

    async def orders(
        self, owner: str, *, state: OrderState | None, model_id: str | None, offset: int, limit: int
    ) -> tuple[list[Order], int]:
        """A page of an owner's orders, newest first, and how many there are."""
        where = "WHERE owner = ? AND state = coalesce(?, state) AND model_id = coalesce(?, model_id)"
        page = f"SELECT * FROM orders {where} ORDER BY seq DESC LIMIT ? OFFSET ?"  # noqa: S608
        total = f"SELECT count(*) AS n FROM orders {where}"  # noqa: S608
        found = await self._all(page, _order_of, owner, state, model_id, limit, offset)
        return found, await self._one(total, lambda row: int(row["n"]), owner, state, model_id) or 0

    async def usage(self, owner: str, *, since: float) -> tuple[int, int]:
        """How many orders were made at or after `since` (unix seconds), and how many are not over."""
        sql = (
            "SELECT coalesce(sum(created_at >= ?), 0) AS made, "
            "coalesce(sum(state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED')), 0) AS live FROM orders WHERE owner = ?"
        )
        return await self._one(sql, lambda row: (row["made"], row["live"]), since, owner) or (0, 0)

    async def config(self, order_id: str) -> bytes | None:
        return await self._one('SELECT body FROM configs WHERE "order" = ?', lambda row: bytes(row["body"]), order_id)

    async def put_result(self, order_id: str, body: bytes) -> None:
        sql = 'INSERT OR REPLACE INTO results ("order", body) VALUES (?, ?)'
        await self._database.write(lambda c: c.execute(sql, (order_id, body)))

    async def result(self, order_id: str) -> bytes | None:
        return await self._one('SELECT body FROM results WHERE "order" = ?', lambda row: bytes(row["body"]), order_id)

    async def history(self, order_id: str) -> list[OrderEvent]:
        return await self._all('SELECT * FROM events WHERE "order" = ? ORDER BY seq', _event_of, order_id)

    async def events(self, after: int, *, limit: int = 1000) -> list[OrderEvent]:
        """The history of all orders behind position `after`."""
        return await self._all("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?", _event_of, after, limit)

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


def _spent(connection: sqlite3.Connection, order: Order) -> Wei:
    """What the owner's orders of the same UTC day cost, without those whose payment came back."""
    day = order.created_at // _DAY * _DAY
    sql = "SELECT payment FROM orders WHERE owner = ? AND created_at >= ? AND NOT refunded"
    return sum(int(row["payment"]) for row in connection.execute(sql, (order.owner, day)))


def _note(connection: sqlite3.Connection, order: Order, kind: str, detail: Values) -> None:
    line: Values = {"order": order.id, "owner": order.owner, "at": order.updated_at, "kind": kind}
    add(connection, "events", line | {"detail": json.dumps(detail)})


def _values(order: Order) -> Values:
    return {name: getattr(order, name) for name in _COLUMNS} | {"payment": str(order.payment)}


def _order_of(row: Row) -> Order:
    values = {name: row[name] for name in _COLUMNS}
    values |= {"state": OrderState(row["state"]), "payment": int(row["payment"])}
    return Order(**values | {"pinned": bool(row["pinned"]), "refunded": bool(row["refunded"])})


def _model_of(row: Row) -> Model:
    return Model(row["id"], Address(row["source"]), row["function"], int(row["price"]), row["description"])


def _key_of(row: Row) -> ApiKey:
    values = {f.name: row[f.name] for f in fields(ApiKey)}
    budget = None if row["day_budget"] is None else int(row["day_budget"])
    return ApiKey(**values | {"scopes": tuple(json.loads(row["scopes"])), "day_budget": budget})


def _event_of(row: Row) -> OrderEvent:
    return OrderEvent(row["seq"], row["order"], row["owner"], row["at"], row["kind"], json.loads(row["detail"]))
