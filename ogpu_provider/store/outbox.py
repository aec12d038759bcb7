"""The sender's part of a database: intents and the signed bytes that carry them. Two stores have it, the provider's
journal and the gateway's, each beside its own rows, so that a row and its transaction commit together."""

import json
import sqlite3
from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import Effect, GasUsed, Intent, IntentRow, IntentState, SignedTx
from ogpu_provider.domain.units import Address, Hash, Wei
from ogpu_provider.store import moves
from ogpu_provider.store.reading import Reading
from ogpu_provider.store.rows import Values, intent_of, intent_values, signed_of, signed_values

Connection = sqlite3.Connection


class OutboxReader(Reading):
    async def cursor(self) -> tuple[int, Hash] | None:
        """Number and hash of the newest block that was read to its end."""
        return await self._one("SELECT number, hash FROM cursor", lambda row: (row["number"], Hash(row["hash"])))

    async def intent(self, key: str) -> IntentRow | None:
        return await self._one("SELECT * FROM intents WHERE key = ?", intent_of, key)

    async def intents_of(self, subject: Address) -> list[IntentRow]:
        """Every transaction planned about a task or source, with its hash, block and fee, in order of planning."""
        return await self._all("SELECT * FROM intents WHERE subject = ? ORDER BY seq", intent_of, subject)

    async def open_intents(self) -> list[IntentRow]:
        sql = "SELECT * FROM intents WHERE state NOT IN ('confirmed', 'reverted', 'abandoned') ORDER BY seq"
        return await self._all(sql, intent_of)

    async def planned_intents(self) -> list[IntentRow]:
        sql = (  # both conditions, for the index of open intents
            "SELECT * FROM intents WHERE state NOT IN ('confirmed', 'reverted', 'abandoned') AND state = 'planned' "
            "ORDER BY seq"
        )
        return await self._all(sql, intent_of)

    async def signed(self, key: str) -> list[SignedTx]:
        return await self._all("SELECT * FROM signed WHERE intent_key = ? ORDER BY seq", signed_of, key)

    async def highest_nonce(self) -> int | None:
        found: int | None = await self._one("SELECT max(nonce) AS nonce FROM signed", lambda row: row["nonce"])
        return found

    async def signed_at(self, nonce: int) -> list[SignedTx]:
        return await self._all("SELECT * FROM signed WHERE nonce = ? ORDER BY seq", signed_of, nonce)

    async def paid_since(self, at: float) -> list[tuple[float, Wei]]:
        sql = (
            "SELECT updated_at, fee_paid, gas_used, max_fee FROM intents JOIN signed ON signed.hash = intents.tx_hash "
            "WHERE state IN ('confirmed', 'reverted', 'abandoned') AND gas_used IS NOT NULL AND updated_at >= ? "
            "ORDER BY updated_at"
        )

        def work(connection: Connection) -> list[tuple[float, Wei]]:
            minutes: dict[int, tuple[float, Wei]] = {}
            for row in connection.execute(sql, (at,)):  # amounts are text: SQLite's sums end at 2^63
                before = minutes.get(int(row["updated_at"] // 60), (0.0, 0))[1]
                fee = row["gas_used"] * int(row["max_fee"]) if row["fee_paid"] is None else int(row["fee_paid"])
                minutes[int(row["updated_at"] // 60)] = row["updated_at"], before + fee
            return list(minutes.values())

        return await self._database.read(work)

    async def gas_used(self, last: int) -> list[GasUsed]:
        sql = (
            "SELECT effect, gas, state = 'confirmed' AS succeeded, max(gas_used) AS most, count(*) AS times "
            "FROM (SELECT * FROM intents WHERE state IN ('confirmed', 'reverted', 'abandoned') "
            "AND gas_used IS NOT NULL ORDER BY updated_at DESC LIMIT ?) AS closed "
            "JOIN signed ON signed.hash = closed.tx_hash WHERE NOT void GROUP BY 1, 2, 3"
        )
        return await self._all(
            sql,
            lambda row: GasUsed(Effect(row["effect"]), row["gas"], bool(row["succeeded"]), row["most"], row["times"]),
            last,
        )

    async def intent_of(self, tx_hash: Hash) -> IntentRow | None:
        sql = "SELECT intents.* FROM intents JOIN signed ON signed.intent_key = intents.key WHERE signed.hash = ?"
        return await self._one(sql, intent_of, tx_hash)

    async def intents_among(self, hashes: Collection[Hash]) -> dict[Hash, IntentRow]:
        """The same for several transactions at once; no key for those that are not ours."""
        sql = (
            "SELECT intents.*, signed.hash AS signed FROM intents JOIN signed ON signed.intent_key = intents.key "
            "WHERE signed.hash IN (SELECT value FROM json_each(?))"
        )
        found = await self._all(sql, lambda row: (Hash(row["signed"]), intent_of(row)), json.dumps(list(hashes)))
        return dict(found)


class OutboxWriter(OutboxReader):
    """Implements the sender's `Outbox`."""

    async def plan(self, intent: Intent, *, at: float) -> bool:
        return await self._database.write(lambda c: plan_intent(c, intent, at))

    async def put_signed(self, *txs: SignedTx) -> None:
        """Raises StoreError store.nonce_taken if a nonce carries another intent, store.intent_closed, .no_intent."""

        def work(connection: Connection) -> None:
            for tx in txs:
                put_signed(connection, tx)

        await self._database.write(work)

    async def set_state(
        self,
        key: str,
        state: IntentState,
        *,
        at: float,
        tx_hash: Hash | None = None,
        block_number: int | None = None,
        block_hash: Hash | None = None,
        gas_used: int | None = None,
        fee_paid: Wei | None = None,
    ) -> IntentRow:
        """Raises StoreError store.no_intent, and store.intent_closed for a move out of a closed state."""

        def work(connection: Connection) -> IntentRow:
            moved = moves.move(
                _intent(connection, key),
                state,
                at=at,
                tx_hash=tx_hash,
                block_number=block_number,
                block_hash=block_hash,
                gas_used=gas_used,
                fee_paid=fee_paid,
            )
            _update_intent(connection, moved)
            return moved

        return await self._database.write(work)


def insert_sql(table: str, values: Values, conflict: str = "") -> str:
    return _insert_sql(table, tuple(values), conflict)


@lru_cache
def _insert_sql(table: str, names: tuple[str, ...], conflict: str) -> str:
    columns = ", ".join(f'"{name}"' for name in names)
    return f"INSERT {conflict} INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608


def add(connection: Connection, table: str, values: Values) -> None:
    connection.execute(insert_sql(table, values), tuple(values.values()))


def claim(connection: Connection, path: Path, chain_id: int, role: str, address: Address) -> None:
    """A file belongs to one key on one chain from its first moment. Raises StoreError store.other_chain, and
    store.other_ROLE."""
    for key, value, noun in (("chain_id", str(chain_id), "chain"), (role, address, role)):
        connection.execute("INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", (key, value))
        (stored,) = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        if stored.lower() != value.lower():
            raise StoreError(
                f"{path} belongs to {noun} {stored}, not {value}",
                code=f"store.other_{noun}",
                remedy=f"use one data directory for each {role} and chain",
            )


def put_cursor(connection: Connection, block: Block) -> None:
    sql = "INSERT OR REPLACE INTO cursor (only, number, hash) VALUES (1, ?, ?)"
    connection.execute(sql, (block.number, block.hash))


_UPDATE_INTENT = (
    "UPDATE intents SET state = ?, nonce = ?, tx_hash = ?, block_number = ?, block_hash = ?, gas_used = ?, "
    "fee_paid = ?, updated_at = ? WHERE key = ?"
)


def plan_intent(connection: Connection, intent: Intent, at: float) -> bool:
    values = intent_values(IntentRow(intent, IntentState.PLANNED, planned_at=at, updated_at=at))
    return connection.execute(insert_sql("intents", values, "OR IGNORE"), tuple(values.values())).rowcount == 1


def put_signed(connection: Connection, tx: SignedTx) -> None:
    """See `OutboxWriter.put_signed`."""
    row = _intent(connection, tx.intent_key)
    other = connection.execute(
        "SELECT intent_key FROM signed WHERE nonce = ? AND intent_key <> ?", (tx.nonce, tx.intent_key)
    ).fetchone()
    if other is not None:
        raise StoreError(f"nonce {tx.nonce} carries {other['intent_key']}", code="store.nonce_taken")
    moved = moves.move(row, IntentState.SIGNED, at=tx.signed_at, tx_hash=tx.hash)
    values = signed_values(tx)
    connection.execute(insert_sql("signed", values, "OR IGNORE"), tuple(values.values()))
    _update_intent(connection, replace(moved, nonce=tx.nonce))


def _intent(connection: Connection, key: str) -> IntentRow:
    row = connection.execute("SELECT * FROM intents WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise StoreError(f"no intent {key}", code="store.no_intent")
    return intent_of(row)


def _update_intent(connection: Connection, row: IntentRow) -> None:
    """What the sender says of an intent; what the intent is never changes."""
    fee = None if row.fee_paid is None else str(row.fee_paid)
    values = (row.state, row.nonce, row.tx_hash, row.block_number, row.block_hash, row.gas_used, fee, row.updated_at)
    connection.execute(_UPDATE_INTENT, (*values, row.intent.key))
