"""What the gateway's users have: models to ask for, keys, sign-ins with a wallet."""

import json
import sqlite3
from dataclasses import asdict, fields

from ogpu_provider.domain.order import ApiKey, Model
from ogpu_provider.domain.units import Address
from ogpu_provider.store.outbox import add, insert_sql
from ogpu_provider.store.reading import Reading
from ogpu_provider.store.rows import Row


class Members(Reading):
    """Every method may raise StoreError."""

    async def put_model(self, model: Model) -> None:
        values = asdict(model) | {"price": str(model.price), "environments": ",".join(model.environments)}
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
        await self._database.write(lambda c: _add_key(c, key))

    async def keys(self) -> list[ApiKey]:
        return await self._all("SELECT * FROM keys ORDER BY created_at", _key_of)

    async def key_of(self, digest: str) -> ApiKey | None:
        """The key of this digest, also a revoked one."""
        return await self._one("SELECT * FROM keys WHERE digest = ?", _key_of, digest)

    async def key(self, key_id: str) -> ApiKey | None:
        return await self._one("SELECT * FROM keys WHERE id = ?", _key_of, key_id)

    async def revoke_key(self, key_id: str, *, at: float) -> bool:
        sql = "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
        return await self._database.write(lambda c: c.execute(sql, (at, key_id)).rowcount == 1)

    async def put_secrets(self, key_id: str, secrets: tuple[str, ...]) -> bool:
        """What the key's webhooks are signed with from now on."""
        sql = "UPDATE keys SET secrets = ? WHERE id = ?"
        return await self._database.write(lambda c: c.execute(sql, (json.dumps(secrets), key_id)).rowcount == 1)

    # sign-in with a wallet

    async def put_challenge(self, nonce: str, message: str, *, expires_at: float, at: float, limit: int) -> bool:
        """Keep a message to be signed; False where `limit` of them wait already. Those that expired are forgotten."""

        def work(connection: sqlite3.Connection) -> bool:
            connection.execute("DELETE FROM challenges WHERE expires_at <= ?", (at,))
            (waiting,) = connection.execute("SELECT count(*) FROM challenges").fetchone()
            if waiting >= limit:
                return False
            add(connection, "challenges", {"nonce": nonce, "message": message, "expires_at": expires_at})
            return True

        return await self._database.write(work)

    async def take_challenge(self, nonce: str, *, at: float) -> str | None:
        """The message of a challenge that has not expired, once."""

        def work(connection: sqlite3.Connection) -> str | None:
            sql = "DELETE FROM challenges WHERE nonce = ? RETURNING message, expires_at"
            row = connection.execute(sql, (nonce,)).fetchone()
            return None if row is None or row["expires_at"] <= at else str(row["message"])

        return await self._database.write(work)

    async def key_at(self, address: Address) -> ApiKey | None:
        """The key of a wallet."""
        return await self._one("SELECT * FROM keys WHERE address = ?", _key_of, address)

    async def put_session(self, key_id: str, digest: str, *, expires_at: float, at: float) -> None:
        """Keep a token for a key; those that expired are forgotten."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM sessions WHERE expires_at <= ?", (at,))
            add(connection, "sessions", {"digest": digest, "key": key_id, "expires_at": expires_at})

        await self._database.write(work)

    async def session_of(self, digest: str, *, at: float) -> ApiKey | None:
        sql = (
            "SELECT keys.* FROM sessions JOIN keys ON keys.id = sessions.key "
            "WHERE sessions.digest = ? AND expires_at > ?"
        )
        return await self._one(sql, _key_of, digest, at)

    async def sign_out(self, digest: str) -> None:
        await self._database.write(lambda c: c.execute("DELETE FROM sessions WHERE digest = ?", (digest,)))


def _add_key(connection: sqlite3.Connection, key: ApiKey) -> None:
    budget = None if key.day_budget is None else str(key.day_budget)
    texts = {"scopes": json.dumps(key.scopes), "secrets": json.dumps(key.secrets), "day_budget": budget}
    add(connection, "keys", asdict(key) | texts | {"address": key.address or None})


def _model_of(row: Row) -> Model:
    return Model(
        id=row["id"],
        source=Address(row["source"]),
        function=row["function"],
        price=int(row["price"]),
        description=row["description"],
        auto_confirm=bool(row["auto_confirm"]),
        environments=tuple(filter(None, row["environments"].split(","))),
    )


def _key_of(row: Row) -> ApiKey:
    values = {f.name: row[f.name] for f in fields(ApiKey)}
    values["day_budget"] = None if row["day_budget"] is None else int(row["day_budget"])
    values["address"] = row["address"] or ""
    return ApiKey(**values | {name: tuple(json.loads(row[name])) for name in ("scopes", "secrets")})
