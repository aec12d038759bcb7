"""The invariants of the path, as far as they can be seen from outside; what breaks them is named. Pure.

I1 one attempt and one response for each task, and no transaction in vain. I2 attempts only where registered, in time,
for no more than the task pays. I3 a response links to bytes that are there, have that CID, and are the result. I4 a
nonce carries one intent. I5 fees within their caps. I6 a container for each source that is served, and for no other.
I7 no device in two sources. I8 other people's containers are as they were. I9 published, attempted, answered, in that
order. I10 nothing on chain that the protocol does not explain. I11 no secret in any output. I12 no task was missed.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from tests.auditor.evidence import FINALIZED, TASK_OVER, UNKNOWN, VOID, Evidence, Log, link_of


def judge(found: Evidence) -> dict[str, list[str]]:
    """The findings for each invariant; all empty if all hold."""
    return {name: list(check(found)) for name, check in CHECKS.items()}


def attempts(found: Evidence) -> Iterator[Log]:
    return (log for log in found.logs if log.event == "Attempted" and log.address(1) == found.provider)


def responses(found: Evidence) -> Iterator[Log]:
    """A log of a response names no provider: it is ours if its transaction is."""
    ours = {tx.hash for tx in found.mined}
    return (log for log in found.logs if log.event == "ResponseSubmitted" and log.tx in ours)


def _once(found: Evidence) -> Iterator[str]:
    counted = {
        "attempts": Counter(log.address(0) for log in attempts(found)),
        "responses": Counter(log.address(1) for log in responses(found)),
    }
    for what, counts in counted.items():
        yield from (f"{number} {what} for {task}" for task, number in counts.items() if number > 1)
    sent = Counter(
        (tx.does(found.provider), tx.subject(found.provider))
        for tx in found.mined
        if tx.does(found.provider) in ("attempt", "submitResponse")
    )
    yield from (f"{number} {kind} transactions for {task}" for (kind, task), number in sent.items() if number > 1)
    yield from (f"{tx.hash} ({tx.does(found.provider)}) failed in a block" for tx in found.mined if not tx.worked)


def _promised(found: Evidence) -> Iterator[str]:
    since = _registered(found)
    for log in attempts(found):
        task = found.tasks[log.address(0)]
        if since.get(task.source, log.place) >= log.place:
            yield f"attempted {log.address(0)} of a source where it was not registered"
        if log.at >= task.expiry:
            yield f"attempted {log.address(0)} after its expiry"
        if log.number(2) > task.payment:
            yield f"asked more for {log.address(0)} than it pays"


def _answered_with_content(found: Evidence) -> Iterator[str]:
    for tx in found.mined:
        if tx.does(found.provider) != "submitResponse":
            continue
        task, link = tx.subject(found.provider), link_of(tx)
        pinned = found.pinned.get(task)
        if pinned is None or pinned.body is None:
            yield f"nothing is behind {link} of {task}"
        elif not link.endswith("/" + pinned.cid):
            yield f"the bytes behind {link} of {task} are {pinned.cid}"
        elif task in found.expected and json.loads(pinned.body) != found.expected[task]:
            yield f"the result of {task} is {pinned.body[:80]!r}, not {found.expected[task]}"


def _one_intent_a_nonce(found: Evidence) -> Iterator[str]:
    carried: dict[int, set[tuple[str, str]]] = defaultdict(set)
    for tx in (*found.seen, *found.mined):
        if tx.does(found.provider) != VOID:
            carried[tx.nonce].add((tx.to, tx.data))
    yield from (f"nonce {nonce} carried {len(what)} intents" for nonce, what in carried.items() if len(what) > 1)
    nonces = Counter(tx.nonce for tx in found.mined)
    yield from (f"nonce {nonce} is used {number} times" for nonce, number in nonces.items() if number > 1)


def _thrift(found: Evidence) -> Iterator[str]:
    for tx in (*found.seen, *found.mined):
        if tx.max_fee > found.max_fee:
            yield f"{tx.hash} offers {tx.max_fee} wei per gas"
    spent = sum(tx.fee for tx in found.mined)
    if spent > found.budget:
        yield f"{spent} wei spent of {found.budget}"


def _containers(found: Evidence) -> Iterator[str]:
    served = _registered(found)
    count = Counter((one.source, one.service) for one in found.containers)
    yield from (f"{number} containers of {where}" for where, number in count.items() if number > 1)
    for one in found.containers:
        if one.running and one.source not in served:
            yield f"{one.name} runs for a source that is not served"


def _devices(found: Evidence) -> Iterator[str]:
    holders: dict[str, set[str]] = defaultdict(set)
    for one in found.containers:
        for device in one.devices if one.running else ():
            holders[device].add(one.source)
    yield from (f"{device} is in {len(who)} sources" for device, who in holders.items() if len(who) > 1)


def _decoys(found: Evidence) -> Iterator[str]:
    yield from found.decoys


def _order(found: Evidence) -> Iterator[str]:
    published = {log.address(0): log.place for log in found.logs if log.event == "TaskPublished"}
    attempted = {log.address(0): log.place for log in attempts(found)}
    for task, place in attempted.items():
        if published.get(task, place) >= place:
            yield f"{task} was attempted before it was published"
    for log in responses(found):
        if attempted.get(log.address(1), log.place) >= log.place:
            yield f"{log.address(1)} was answered before it was attempted"


def _explained(found: Evidence) -> Iterator[str]:
    sent = {tx.hash for tx in found.mined}
    for tx in (*found.seen, *found.mined):
        if tx.does(found.provider) == UNKNOWN:
            yield f"{tx.hash} does what no provider does: {tx.data[:10]}"
    yield from (f"{log.tx} attempted for us" for log in attempts(found) if log.tx not in sent)


def _secrets(found: Evidence) -> Iterator[str]:
    yield from found.leaks


def _missed(found: Evidence) -> Iterator[str]:
    since = _registered(found)
    attempted = {log.address(0) for log in attempts(found)}
    answered = {log.address(1) for log in responses(found)}
    for log in (log for log in found.logs if log.event == "TaskPublished"):
        task = found.tasks[log.address(0)]
        if since.get(task.source, log.place) >= log.place:
            continue
        if log.address(0) not in attempted:
            yield f"{log.address(0)} was never attempted"
        elif log.address(0) in found.unanswered:
            continue
        elif log.address(0) not in answered:
            yield f"{log.address(0)} was never answered"
        elif task.status not in TASK_OVER:
            yield f"{log.address(0)} is not over: its status is {task.status}, not {FINALIZED}"


def _registered(found: Evidence) -> dict[str, tuple[int, int]]:
    """Where each source's registration of ours stands in the chain."""
    ours = (log for log in found.logs if log.event == "Registered" and log.address(0) == found.provider)
    return {log.address(2): log.place for log in ours}


CHECKS: dict[str, Callable[[Evidence], Iterator[str]]] = {
    "I1": _once,
    "I2": _promised,
    "I3": _answered_with_content,
    "I4": _one_intent_a_nonce,
    "I5": _thrift,
    "I6": _containers,
    "I7": _devices,
    "I8": _decoys,
    "I9": _order,
    "I10": _explained,
    "I11": _secrets,
    "I12": _missed,
}
