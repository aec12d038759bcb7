"""Dataclasses to rows and back. Column names are field names."""

import json
import sqlite3
from dataclasses import asdict, fields
from operator import attrgetter

from ogpu_provider.domain.approval import Approval
from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.earnings import Entry
from ogpu_provider.domain.history import Outcome
from ogpu_provider.domain.intent import Effect, Intent, IntentRow, IntentState, SignedTx
from ogpu_provider.domain.learnt import Fact, Key, Learnt
from ogpu_provider.domain.source import (
    DeliveryMethod,
    Environment,
    ServedSource,
    SourceParams,
    SourceState,
    SourceStatus,
)
from ogpu_provider.domain.task import JournalLine, Task, TaskState
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.domain.verdict import Reason, Ruling
from ogpu_provider.domain.wish import Want, Wish

Row = sqlite3.Row
Values = dict[str, object]

TASK_COLUMNS = tuple(f.name for f in fields(Task) if f.name != "data")
"""Of the table `tasks`; `data` lives in `inputs`."""


_task_columns = attrgetter(*TASK_COLUMNS)


def task_values(task: Task) -> Values:
    values: Values = dict(zip(TASK_COLUMNS, _task_columns(task), strict=True))
    values["payment"], values["expiry"] = str(task.payment), str(task.expiry)
    values["devices"] = json.dumps(task.devices) if task.devices else "[]"
    values["bid"] = None if task.bid is None else str(task.bid)
    return values


def task_of(row: Row) -> Task:
    values = {name: row[name] for name in TASK_COLUMNS}
    values |= {
        "state": TaskState(row["state"]),
        "obliged": bool(row["obliged"]),
        "payment": int(row["payment"]),
        "expiry": int(row["expiry"]),
        "delivery": None if row["delivery"] is None else DeliveryMethod(row["delivery"]),
        "environment": None if row["environment"] is None else Environment(row["environment"]),
        "devices": () if row["devices"] == "[]" else tuple(json.loads(row["devices"])),
        "data": row["data"] or "",
        "bid": None if row["bid"] is None else int(row["bid"]),
    }
    return Task(**values)


def line_values(line: JournalLine) -> Values:
    return {
        "task": line.task,
        "at": line.at,
        "before": line.before,
        "after": line.after,
        "boot": line.boot,
        "reasons": json.dumps([[reason.code, reason.text] for reason in line.reasons]) if line.reasons else "[]",
        "detail": json.dumps(line.detail) if line.detail else "{}",
    }


def line_of(row: Row) -> JournalLine:
    return JournalLine(
        task=Address(row["task"]),
        at=row["at"],
        before=None if row["before"] is None else TaskState(row["before"]),
        after=TaskState(row["after"]),
        boot=row["boot"],
        reasons=tuple(Reason(code, text) for code, text in json.loads(row["reasons"])),
        detail=json.loads(row["detail"]),
    )


def outcome_of(row: Row) -> Outcome:
    detail = json.loads(row["detail"]) if row["detail"] else {}
    return Outcome(
        task=Address(row["address"]),
        source=Address(row["source"]),
        state=TaskState(row["state"]),
        code=row["code"],
        reason=row["reason"],
        function=row["function"],
        payment=int(row["payment"]),
        expiry=int(row["expiry"]),
        seen_at=row["seen_at"],
        updated_at=row["updated_at"],
        response=row["response"],
        against=tuple(Ruling(*parts) for parts in detail.get("rulings", ()) if not parts[1]),
    )


def intent_values(row: IntentRow) -> Values:
    intent = row.intent
    return {
        "key": intent.key,
        "effect": intent.effect,
        "subject": intent.subject,
        "to": intent.to,
        "data": intent.data,
        "value": str(intent.value),
        "deadline": intent.deadline,
        "state": row.state,
        "nonce": row.nonce,
        "tx_hash": row.tx_hash,
        "block_number": row.block_number,
        "block_hash": row.block_hash,
        "gas_used": row.gas_used,
        "fee_paid": None if row.fee_paid is None else str(row.fee_paid),
        "planned_at": row.planned_at,
        "updated_at": row.updated_at,
    }


def intent_of(row: Row) -> IntentRow:
    intent = Intent(
        key=row["key"],
        effect=Effect(row["effect"]),
        subject=Address(row["subject"]),
        to=Address(row["to"]),
        data=row["data"],
        deadline=row["deadline"],
        value=int(row["value"]),
    )
    return IntentRow(
        intent=intent,
        state=IntentState(row["state"]),
        nonce=row["nonce"],
        tx_hash=row["tx_hash"],
        block_number=row["block_number"],
        block_hash=row["block_hash"],
        gas_used=row["gas_used"],
        fee_paid=None if row["fee_paid"] is None else int(row["fee_paid"]),
        planned_at=row["planned_at"],
        updated_at=row["updated_at"],
    )


def signed_values(tx: SignedTx) -> Values:
    return {
        "hash": tx.hash,
        "intent_key": tx.intent_key,
        "nonce": tx.nonce,
        "raw": tx.raw,
        "gas": tx.gas,
        "max_fee": str(tx.max_fee),
        "tip_fee": None if tx.tip_fee is None else str(tx.tip_fee),
        "signed_at": tx.signed_at,
        "void": tx.void,
    }


def signed_of(row: Row) -> SignedTx:
    return SignedTx(
        hash=Hash(row["hash"]),
        intent_key=row["intent_key"],
        nonce=row["nonce"],
        raw=row["raw"],
        gas=row["gas"],
        max_fee=int(row["max_fee"]),
        tip_fee=None if row["tip_fee"] is None else int(row["tip_fee"]),
        signed_at=row["signed_at"],
        void=bool(row["void"]),
    )


def source_values(source: ServedSource) -> Values:
    params = None if source.params is None else params_text(source.params)
    return {
        "address": source.address,
        "state": source.state,
        "name": source.name,
        "environment": source.environment,
        "registered": source.registered,
        "params": params,
        "compose_sha256": source.compose_sha256,
        "devices": json.dumps(source.devices),
        "device_memory": source.device_memory,
        "code": source.code,
        "reason": source.reason,
        "updated_at": source.updated_at,
    }


def source_of(row: Row) -> ServedSource:
    return ServedSource(
        address=Address(row["address"]),
        state=SourceState(row["state"]),
        name=row["name"],
        environment=None if row["environment"] is None else Environment(row["environment"]),
        registered=bool(row["registered"]),
        params=None if row["params"] is None else params_of(row["params"]),
        compose_sha256=row["compose_sha256"],
        devices=tuple(json.loads(row["devices"])),
        device_memory=row["device_memory"],
        code=row["code"],
        reason=row["reason"],
        updated_at=row["updated_at"],
    )


def params_text(params: SourceParams) -> str:
    return json.dumps(asdict(params) | {"environments": sorted(params.environments)})


def params_of(text: str) -> SourceParams:
    plain = json.loads(text)
    plain["environments"] = frozenset(Environment(bit) for bit in plain["environments"])
    plain["delivery"] = DeliveryMethod(plain["delivery"])
    plain["status"] = SourceStatus(plain["status"])
    return SourceParams(**plain)


def approval_values(approval: Approval) -> Values:
    lists = {"images": json.dumps(approval.images), "waived": json.dumps(approval.waived)}
    return asdict(approval) | lists


def approval_of(row: Row) -> Approval:
    return Approval(
        source=Address(row["source"]),
        sha256=row["sha256"],
        at=row["at"],
        images=tuple(json.loads(row["images"])),
        waived=tuple(json.loads(row["waived"])),
        reason=row["reason"],
        by_operator=bool(row["by_operator"]),
    )


def wish_values(wish: Wish) -> Values:
    return {"subject": wish.subject, "wish": wish.want, "at": wish.at}


def wish_of(row: Row) -> Wish:
    return Wish(row["subject"], Want(row["wish"]), row["at"])


def learnt_values(learnt: Learnt) -> Values:
    return {
        "fact": learnt.key.fact,
        "subject": learnt.key.subject,
        "aspect": learnt.key.aspect,
        "samples": learnt.samples,
        "highest": learnt.highest,
        "recent": json.dumps(learnt.recent),
        "updated_at": learnt.updated_at,
    }


def learnt_of(row: Row) -> Learnt:
    return Learnt(
        key=Key(Fact(row["fact"]), row["subject"], row["aspect"]),
        samples=row["samples"],
        highest=row["highest"],
        recent=tuple(json.loads(row["recent"])),
        updated_at=row["updated_at"],
    )


def cordon_values(cordon: Cordon) -> Values:
    return {
        "card": cordon.card,
        "name": cordon.name,
        "code": cordon.reason.code,
        "text": cordon.reason.text,
        "at": cordon.at,
        "lifted_at": cordon.lifted_at,
        "lifted_by": cordon.lifted_by,
    }


def cordon_of(row: Row) -> Cordon:
    reason = Reason(row["code"], row["text"])
    return Cordon(row["card"], row["name"], reason, row["at"], row["lifted_at"], row["lifted_by"])


def entry_of(row: Row) -> Entry:
    return Entry(
        at=row["at"],
        kind=row["kind"],
        source=None if row["source"] is None else Address(row["source"]),
        environment=None if row["environment"] is None else Environment(row["environment"]),
        paid=int(row["paid"]),
        fee=int(row["fee"]),
    )
