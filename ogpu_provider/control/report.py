"""Documents about the provider: of the daemon as it runs, and of its journal whether or not it does.

Amounts in wei and, exactly, in coin; times in unix seconds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ogpu_provider.chain.endpoint import EndpointHealth
from ogpu_provider.control.account import AccountWatch
from ogpu_provider.domain.approval import Approval, ImageOffer
from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.intent import IntentRow
from ogpu_provider.domain.resources import Host
from ogpu_provider.domain.source import ServedSource
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import coin
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.domain.wish import Want
from ogpu_provider.runtime.egress.table import Traffic
from ogpu_provider.runtime.pull import Pulling
from ogpu_provider.scheduler.ledger import LedgerSnapshot
from ogpu_provider.store.reader import SqliteReader

RECENT_S = 86_400.0
"""Seconds that count as lately."""


def approval_document(approval: Approval) -> dict[str, Any]:
    return asdict(approval) | {"images": list(approval.images), "waived": list(approval.waived)}


def source_document(
    source: ServedSource,
    traffic: Traffic | None = None,
    pulls: Sequence[Pulling] = (),
    offers: Sequence[ImageOffer] = (),
) -> dict[str, Any]:
    """What only the running daemon knows: `traffic` that its rules have counted, `pulls` under way, and `offers` of
    other content under the tags of its images.
    """
    return {
        "address": source.address,
        "name": source.name or None,
        "state": source.state,
        "environment": source.environment.label if source.environment else None,
        "registered": source.registered,
        "devices": list(source.devices),
        "min_payment_wei": source.params.min_payment if source.params else None,
        "compose_sha256": source.compose_sha256 or None,
        "code": source.code or None,
        "reason": source.reason or None,
        "updated_at": source.updated_at,
        "bytes_sent": traffic.sent if traffic else None,
        "bytes_received": traffic.received if traffic else None,
        "pulling": [asdict(pull) for pull in pulls],
        "images_offered": [asdict(offer) for offer in offers],
    }


def task_document(task: Task, waits: str = "") -> dict[str, Any]:
    """A live task; `waits` is what it waits for, if the daemon was asked."""
    return {
        "address": task.address,
        "source": task.source,
        "state": task.state,
        "function": task.function or None,
        "payment_wei": task.payment,
        "payment": coin(task.payment),
        "obliged": task.obliged,
        "waits": waits or None,
        "seen_at": task.seen_at,
        "updated_at": task.updated_at,
        "deadline": task.deadline or None,
        "expiry": task.expiry or None,
    }


def intent_document(row: IntentRow) -> dict[str, Any]:
    return {
        "effect": row.intent.effect,
        "subject": row.intent.subject,
        "state": row.state,
        "tx": row.tx_hash,
        "nonce": row.nonce,
        "planned_at": row.planned_at,
        "updated_at": row.updated_at,
    }


def account_document(watch: AccountWatch) -> dict[str, Any] | None:
    """None until it was read once."""
    account = watch.last
    if account is None:
        return None
    return {
        "balance_wei": account.balance,
        "balance": coin(account.balance),
        "price_wei": account.price,
        "tasks_covered": account.tasks_covered,
        "master": account.pairing.master,
        "paired": account.pairing.master is not None and account.pairing.announced,
        "eligible": account.eligible,
        "sanctioned_wei": account.sanctioned,
        "read_at": account.at,
    }


def rpc_document(watch: AccountWatch, endpoints: Sequence[EndpointHealth]) -> dict[str, Any]:
    """`answers` is None until it was tried once; `seconds` is what a whole reading took. With no healthy endpoint
    nothing answers, whatever the last reading was like.
    """
    problem, down = watch.problem, not any(one.healthy for one in endpoints)
    reasons = "; ".join(f"{one.name}: {one.reason}" for one in endpoints if one.reason)
    return {
        "answers": False if down or problem else None if watch.tried_at is None else True,
        "code": problem.code if problem else "chain.unavailable" if down else None,
        "reason": reasons if down and reasons else str(problem) if problem else None,
        "tried_at": watch.tried_at,
        "seconds": watch.took,
        "endpoints": [endpoint_document(one) for one in endpoints],
    }


def endpoint_document(health: EndpointHealth) -> dict[str, Any]:
    """Times in seconds, `limit` in calls per second; None for what is not known or not there."""
    return asdict(health) | {
        "head": health.head if health.head >= 0 else None,
        "reason": health.reason or None,
        "limit": health.limit if math.isfinite(health.limit) else None,
    }


def cordon_document(cordon: Cordon) -> dict[str, Any]:
    return {
        "card": cordon.card,
        "name": cordon.name,
        "code": cordon.reason.code,
        "reason": cordon.reason.text,
        "at": cordon.at,
    }


def reason_document(reason: Reason) -> dict[str, Any]:
    return {"code": reason.code, "text": reason.text}


def capacity_document(snapshot: LedgerSnapshot, host: Host) -> dict[str, Any]:
    return {
        "slots": snapshot.slots,
        "slots_used": snapshot.slots_used,
        "cpus": host.cpus or None,
        "memory_bytes": host.memory or None,
        "devices": [
            {
                "id": device.id,
                "name": device.name,
                "environment": device.environment.label,
                "memory_bytes": device.memory_total,
                "memory_used_bytes": device.memory_used,
                "held_by": next((lease.source for lease in snapshot.leases if device.id in lease.devices), None),
                "withheld": [reason_document(reason) for reason in device.withheld],
            }
            for device in host.devices
        ],
        "devices_missing": list(snapshot.devices_missing),
        "leases": [
            {"holder": lease.holder, "source": lease.source, "slots": lease.slots, "devices": list(lease.devices)}
            for lease in snapshot.leases
        ],
    }


async def history(reader: SqliteReader, now: float) -> dict[str, Any]:
    """What only the journal knows: whose it is, all tasks by state, and what happened lately."""
    meta, cursor, counts = await reader.meta(), await reader.cursor(), await reader.counts()
    since = now - RECENT_S
    entries, tallies = await reader.entries(since), await reader.tallies(since)
    paid, fees = sum(entry.paid for entry in entries), sum(entry.fee for entry in entries)
    return {
        "journal": str(reader.path),
        "chain_id": int(meta["chain_id"]) if "chain_id" in meta else None,
        "provider": meta.get("provider"),
        "block": cursor[0] if cursor else None,
        "tasks": {state.value: counts.get(state, 0) for state in TaskState},
        "recent": {
            "since": since,
            "published": sum(number for _, _, number in tallies),
            "settled": sum(entry.kind == "payment" for entry in entries),
            "paid_wei": paid,
            "paid": coin(paid),
            "fees_wei": fees,
            "fees": coin(fees),
            "refusals": _refusals(tallies),
        },
    }


def _refusals(tallies: list[tuple[TaskState, str, int]]) -> dict[str, int]:
    """How often each reason ended a task without a payment, the most frequent first."""
    found: dict[str, int] = {}
    for state, code, number in tallies:
        if state.over and code:
            found[code] = found.get(code, 0) + number
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


async def standing(reader: SqliteReader) -> dict[str, Any]:
    """The journal's part of what the daemon says while it runs: for when it does not."""
    wishes = {wish.want: wish.at for wish in await reader.wishes()}
    return {
        "paused_since": wishes.get(Want.PAUSE),
        "draining": _draining(wishes),
        "sources": [source_document(source) for source in await reader.sources()],
        "cordons": [cordon_document(cordon) for cordon in await reader.cordons()],
        "live": [task_document(task) for task in await reader.live()],
        "open_transactions": [intent_document(row) for row in await reader.open_intents()],
    }


def _draining(wishes: Mapping[Want, float]) -> dict[str, Any] | None:
    since = wishes.get(Want.DRAIN)
    return None if since is None else {"since": since, "tasks": None, "transactions": None, "sources": None}
