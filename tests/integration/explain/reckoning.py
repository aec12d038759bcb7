"""The same questions, answered from plain JSON-RPC and small sums of its own: nothing of the product is used here."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import median
from typing import Any

from eth_abi.abi import decode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from tests.integration.explain.pastnet import Plain

PUBLISHED, ATTEMPTED, RESPONDED, CHANGED = (
    "0x" + keccak(text=text).hex()
    for text in (
        "TaskPublished(address,address)",
        "Attempted(address,address,uint256)",
        "ResponseSubmitted(address,address)",
        "TaskStatusChanged(address,uint8)",
    )
)
TERMS = "0x" + keccak(text="taskParams()")[:4].hex()
PIN_S, CHAIN_S = 1, 2


@dataclass
class Item:
    """A task as the logs tell it."""

    address: str
    source: str
    block: int
    at: int
    payment: int = 0
    expiry: int = 0
    attempted: int | None = None
    responded: int | None = None
    finalised: int | None = None
    canceled: int | None = None


@dataclass
class Bill:
    """What a source would have brought. Wei; `busy`: seconds of its tasks. `overlong`, `unsettled`: when runs were
    given up, and when it was clear that responses would not be paid.
    """

    paid: int = 0
    income: int = 0
    unpaid: int = 0
    lost: int = 0
    failed: int = 0
    gas: int = 0
    energy: int = 0
    busy: int = 0
    overlong: list[int] = field(default_factory=list)
    unsettled: list[int] = field(default_factory=list)


def items(rpc: Plain, nexus: str, since: int, last: int) -> list[Item]:
    """Every task published at or after `since` in the blocks up to `last`, in the chain's order."""
    times: dict[int, int] = {}
    for start in range(0, last + 1, 200):
        numbers = range(start, min(last + 1, start + 200))
        for header in rpc.batch(("eth_getBlockByNumber", [hex(number), False]) for number in numbers):
            times[int(header["number"], 16)] = int(header["timestamp"], 16)
    found: dict[str, Item] = {}
    for log in rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": hex(last), "address": nexus}):
        words = [log["data"][2 + 64 * place : 66 + 64 * place] for place in range(2)]
        at = times[int(log["blockNumber"], 16)]
        match log["topics"][0]:
            case kind if kind == PUBLISHED:
                address, source = (str(to_checksum_address("0x" + word[24:])) for word in words)
                found[address] = Item(address, source, int(log["blockNumber"], 16), at)
            case kind if kind == ATTEMPTED:
                item = found[str(to_checksum_address("0x" + words[0][24:]))]
                item.attempted = at if item.attempted is None else item.attempted
            case kind if kind == RESPONDED:
                item = found[str(to_checksum_address("0x" + words[1][24:]))]
                item.responded = at if item.responded is None else item.responded
            case kind if kind == CHANGED and int(words[1], 16) == 5:
                found[str(to_checksum_address("0x" + words[0][24:]))].finalised = at
            case kind if kind == CHANGED and int(words[1], 16) == 3:
                found[str(to_checksum_address("0x" + words[0][24:]))].canceled = at
    some = [item for item in found.values() if item.at >= since]
    _read_terms(rpc, some)
    return some


def _read_terms(rpc: Plain, some: list[Item]) -> None:
    for start in range(0, len(some), 200):
        part = some[start : start + 200]
        answers = rpc.batch(("eth_call", [{"to": item.address, "data": TERMS}, "latest"]) for item in part)
        for item, answer in zip(part, answers, strict=True):
            _, _, item.expiry, item.payment = decode(
                ["address", "bytes", "uint256", "uint256"], bytes.fromhex(answer[2:])
            )


def took(tasks: list[Item]) -> list[int]:
    """Seconds from attempt to response, of the last hundred that have both."""
    both = [t.responded - t.attempted for t in tasks if t.responded is not None and t.attempted is not None]
    return both[-100:]


def runs_of(task: Item, seen: list[int], terms: dict[str, Any]) -> list[int]:
    """What is known of how long it takes: of its function, else of its source here, else of the chain."""
    learnt = terms["learnt"]
    return learnt.get(terms["asked"].get(task.address)) or [run for runs in learnt.values() for run in runs] or seen


def bill(tasks: list[Item], reasons: dict[str, list[Item]], terms: dict[str, Any]) -> Bill:
    """One source's tasks through `terms["servers"]` equal places, second by second.

    `terms`: floor (wei), least (seconds that must be left), margin, alone (nobody else answers), by_hand, gas (of
    attempt and response), watts, kwh and coin (money), breaker (limit and half-life in seconds, limit 0: none), learnt
    (seconds of runs here, by function), asked (functions, by task). What is declined goes into `reasons`. The source
    has a client of its own.
    """
    seen = took(tasks)
    ends: list[float] = []
    waiting: list[Item] = []
    made, coming = Bill(), list(tasks)

    def declined(code: str, task: Item) -> None:
        reasons.setdefault(code, []).append(task)

    def start(task: Item, now: float) -> None:
        run = median(runs_of(task, seen, terms))
        if not terms["learnt"] and task.responded is not None and task.attempted is not None:
            run = task.responded - task.attempted
        ends.append(_run(task, now, run, _rival(task, terms), terms, made))

    def usual(task: Item) -> float:
        known = runs_of(task, seen, terms)
        return sorted(known)[math.ceil(0.9 * len(known)) - 1] + PIN_S + CHAIN_S

    def turn(task: Item, now: float) -> tuple[int, float]:
        """Who waited for a minute goes first; then what brings most a second, halved every 30 s of waiting."""
        if now - task.at >= 60:
            return 0, task.at
        takes = usual(task)
        cost = sum(terms["gas"]) + _energy(takes - PIN_S - CHAIN_S, terms)
        worth = (task.payment - cost) / max(1.0, takes)
        return 1, -worth if terms["by_hand"] or worth <= 0 else -worth * 2 ** (-(now - task.at) / 30)

    while coming or waiting or ends:
        now = min([task.at for task in coming[:1]] + ends + [_gone(task, terms) for task in waiting])
        for task in [one for one in waiting if _gone(one, terms) <= now]:
            waiting.remove(task)
            declined("capacity.none", task)
        while ends and min(ends) <= now:
            ends.remove(min(ends))
            while waiting and len(ends) < terms["servers"]:
                task = min(waiting, key=lambda one: turn(one, now))
                waiting.remove(task)
                if task.expiry - now < usual(task) + terms["least"]:
                    declined("capacity.none", task)
                elif code := _left_alone(made, now, terms):
                    declined(code, task)
                else:
                    start(task, now)
        while coming and coming[0].at <= now:
            task = coming.pop(0)
            if task.expiry - now < usual(task) + terms["least"]:
                declined("time.too_short", task)
            elif task.payment < terms["floor"]:
                declined("payment.below_floor", task)
            elif code := _left_alone(made, now, terms):
                declined(code, task)
            elif len(ends) < terms["servers"]:
                start(task, now)
            else:
                waiting.append(task)
    return made


def _left_alone(made: Bill, now: float, terms: dict[str, Any]) -> str:
    """Which breaker is open, if one is: all that happened, each half as heavy after every half-life."""
    limit, half = terms["breaker"]
    for code, times in (("breaker.source", made.overlong), ("breaker.client", made.unsettled)):
        weight, shut, last = 0.0, False, 0
        for at in sorted(at for at in times if at <= now):
            weight *= 0.5 ** ((at - last) / half)
            shut = (shut and weight > limit / 2) or weight + 1 >= limit
            weight, last = weight + 1, at
        if limit and shut and weight * 0.5 ** ((now - last) / half) > limit / 2:
            return code
    return ""


def _rival(task: Item, terms: dict[str, Any]) -> int | None:
    return None if terms["alone"] else task.finalised if terms["by_hand"] else task.responded


def _gone(task: Item, terms: dict[str, Any]) -> float:
    """When waiting is of no use any more."""
    ends = [task.expiry - terms["margin"], _rival(task, terms), None if terms["alone"] else task.canceled]
    return float(min(at for at in ends if at is not None))


def _energy(seconds: float, terms: dict[str, Any]) -> int:
    money = Fraction(terms["watts"]) * Fraction(seconds) / 3_600_000 * Fraction(terms["kwh"])
    return math.ceil(money / Fraction(terms["coin"]) * 10**18)


def _run(task: Item, begin: float, run: float, rival: int | None, terms: dict[str, Any], made: Bill) -> int:
    """When its place is free again."""
    attempt, submit = terms["gas"]
    ready, limit = begin + run, task.expiry - terms["margin"]
    end = min(ready, limit)
    if not terms["alone"] and task.canceled is not None and task.canceled <= begin + CHAIN_S:
        end = max(begin, min(ready, task.canceled))
        made.unpaid += 1
        made.gas += attempt
    elif rival is not None and rival <= min(ready + PIN_S + CHAIN_S, limit):
        end = max(begin, min(end, rival))
        made.lost += 1
        made.gas += attempt + (submit if ready + PIN_S <= rival else 0)
    elif ready > limit:
        made.failed += 1
        made.overlong.append(int(end))
        made.gas += attempt
    else:
        made.gas += attempt + submit
        if terms["by_hand"] and not terms["alone"] and task.finalised is None:
            made.unpaid += 1
            made.unsettled += [] if task.canceled is not None else [task.expiry]
        else:
            made.paid += 1
            made.income += task.payment
    made.busy += int(end - begin)
    made.energy += _energy(int(end - begin), terms)
    return int(end)
