"""The daemon's journal as the reporting commands see it: read-only, also while the daemon runs."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ogpu_provider.domain.errors import ProviderError, StoreError
from ogpu_provider.domain.intent import IntentRow
from ogpu_provider.domain.task import JournalLine, Task
from ogpu_provider.domain.units import Address, coin

if TYPE_CHECKING:
    from ogpu_provider.settings import Settings
    from ogpu_provider.store.reader import SqliteReader

SEARCHED = 1_000
"""Newest tasks among which the beginning of an address is looked for."""


def read_settings(file: Path | None) -> "Settings":
    from ogpu_provider import config

    return config.load(file).settings


@asynccontextmanager
async def opened(file: Path | None) -> AsyncIterator["SqliteReader"]:
    """The journal of the settings in `file`. Raises StoreError and ConfigError."""
    from ogpu_provider.store.reader import open_readonly

    reader = await open_readonly(read_settings(file).journal)
    try:
        yield reader
    finally:
        await reader.close()


@asynccontextmanager
async def if_any(settings: "Settings") -> AsyncIterator["SqliteReader | None"]:
    """The journal, None where no daemon ever ran. Raises StoreError for one that cannot be read."""
    from ogpu_provider.store.reader import open_readonly

    try:
        reader = await open_readonly(settings.journal)
    except StoreError as error:
        if error.code != "store.missing":
            raise
        yield None
        return
    try:
        yield reader
    finally:
        await reader.close()


async def find(reader: "SqliteReader", name: str) -> Task:
    """A task by its address, or a recent one by the beginning. Raises ProviderError task.unknown, usage.address."""
    wanted = name.lower()
    if len(wanted) == 42:
        task = await reader.task(whole_address(name))
        found = [task] if task else []
    elif re.fullmatch(r"0x[0-9a-f]{1,39}", wanted):
        found = [task for task in await reader.tasks(limit=SEARCHED) if task.address.lower().startswith(wanted)]
    else:
        raise ProviderError(f"{name} is not an address", code="usage.address", remedy="0x and up to 40 hex digits")
    if not found:
        raise ProviderError(
            f"the journal has no task {name}",
            code="task.unknown",
            remedy="`ogpu-provider tasks list` shows those it has; a task of a source that is not served is never seen",
        )
    if len(found) > 1:
        raise ProviderError(f"{len(found)} tasks begin with {name}", code="task.unknown", remedy="give more digits")
    return found[0]


def whole_address(text: str) -> Address:
    """An address typed in any case. Raises ProviderError (`usage.address`)."""
    from eth_utils.address import to_checksum_address

    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        raise ProviderError(f"{text} is not an address", code="usage.address", remedy="0x and 40 hex digits")
    return Address(to_checksum_address(text))


def task_document(task: Task) -> dict[str, Any]:
    """A row for scripts. Amounts in wei and, exactly, in coin; times in unix seconds."""
    return {
        "address": task.address,
        "source": task.source,
        "state": task.state,
        "code": task.code or None,
        "reason": task.reason or None,
        "payment_wei": task.payment,
        "payment": coin(task.payment),
        "obliged": task.obliged,
        "function": task.function or None,
        "environment": task.environment.label if task.environment else None,
        "delivery": task.delivery.name.lower() if task.delivery is not None else None,
        "devices": list(task.devices),
        "seen_block": task.seen_block,
        "seen_at": task.seen_at,
        "updated_at": task.updated_at,
        "expiry": task.expiry,
        "deadline": task.deadline or None,
        "dispatches": task.dispatches,
        "cid": task.cid or None,
        "link": task.link or None,
        "response": task.response,
        "finalized_block": task.finalized_block,
    }


def line_document(line: JournalLine) -> dict[str, Any]:
    return {
        "at": line.at,
        "before": line.before,
        "after": line.after,
        "boot": line.boot,
        "reasons": [{"code": reason.code, "text": reason.text} for reason in line.reasons],
        "detail": dict(line.detail),
    }


def intent_document(row: IntentRow) -> dict[str, Any]:
    return {
        "effect": row.intent.effect,
        "state": row.state,
        "tx": row.tx_hash,
        "nonce": row.nonce,
        "block": row.block_number,
        "gas_used": row.gas_used,
        "fee_wei": row.fee_paid,
        "planned_at": row.planned_at,
        "updated_at": row.updated_at,
    }
