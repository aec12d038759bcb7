"""SEEN -> ADMITTED | DECLINED: may we, should we, and is there room?"""

import json
from typing import Any

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.documents import read_json
from ogpu_provider.domain.source import ServedSource, SourceParams, SourceState
from ogpu_provider.domain.task import Step, Task, TaskState, Transition, Wait
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.standing import ended

UNREAD_S = 30.0
"""Seconds until a task of a source whose parameters are not read yet is looked at again, if nothing is heard before."""


async def admit(task: Task, ports: Ports) -> Step:
    source = ports.book.get(task.source)
    if source is not None and source.state is SourceState.WANTED and source.params is None:  # a first start
        return Wait(ports.head.now(ports.clock) + UNREAD_S, _prepared(source))
    if source is None or source.state is SourceState.DROPPED or source.params is None:
        reason = source.reason if source and source.reason else "this host does not serve the source"
        return _declined(Reason("source.not_served", reason))
    if not task.expiry:
        task, end = await _read_chain(task, source.params, ports)
        if end:
            return end
    now = ports.head.now(ports.clock)
    give_up = task.expiry - ports.policy.response_margin
    known = _known(task)
    if now >= give_up:
        return Transition(
            TaskState.DECLINED,
            known,
            (Reason("time.expired", f"expires at {task.expiry}, {task.expiry - now:.0f} s from now"),),
        )
    if ports.book.paused and not task.obliged:
        text = "the operator has paused this provider: no new task is taken"
        return Transition(TaskState.DECLINED, known, (Reason("provider.paused", text),))
    if source.state is SourceState.WANTED and (task.obliged or not source.environment):
        return Wait(give_up, _prepared(source), known)
    if not task.function:
        config = await ports.content.get(task.config_url, limit=ports.policy.config_limit)
        function, data, problem = _parse_config(config)
        if problem:
            return Transition(TaskState.DECLINED, known, (problem,))
        task = task.but(function=function, data=data)
        known = _known(task)
    if source.state is SourceState.WANTED:
        return await _foresee(task, source, ports, now, give_up)
    return await _decide(task, source, ports, now, give_up)


async def _foresee(task: Task, source: ServedSource, ports: Ports, now: float, give_up: float) -> Step:
    """While its source is prepared: a task that could not be done in time even so does not wait for that."""
    candidate = await _candidate(task, source, ports, now)
    verdict = ports.scheduler.in_time(candidate)
    if not verdict.accepted:
        return Transition(TaskState.DECLINED, _known(task), verdict.reasons, rulings=verdict.rulings)
    return Wait(give_up, _prepared(source), _known(task))


def _prepared(source: ServedSource) -> str:
    return f"source {source.name or source.address} is being prepared"


async def _candidate(task: Task, source: ServedSource, ports: Ports, now: float) -> Candidate:
    contract = await ports.runtime.contract(source.address)
    functions = contract.functions if contract else None
    violations: tuple[str, ...] = ()
    if contract and task.function in contract.functions:
        violations = contract.violations(task.function, task.data)
    assert source.params is not None
    problem = source.reason if source.state is SourceState.UNFIT else ""
    if not ports.book.paired:
        problem = "the master has removed this provider"
    return Candidate(
        task=task.address,
        source=task.source,
        client=source.params.client,
        obliged=task.obliged,
        payment=task.payment,
        expiry=task.expiry,
        delivery=source.params.delivery,
        environment=source.environment,
        function=task.function,
        functions=functions,
        violations=violations,
        source_problem=problem,
        pull_left=await ports.runtime.pull_left(source.address) if functions is None else 0,
        now=now,
    )


async def _decide(task: Task, source: ServedSource, ports: Ports, now: float, give_up: float) -> Step:
    admission = ports.scheduler.admit(await _candidate(task, source, ports, now))
    known, cold = _known(task), source.state is SourceState.COLD
    if not admission.verdict.accepted:
        return Transition(TaskState.DECLINED, known, admission.verdict.reasons, rulings=admission.verdict.rulings)
    if admission.lease is None:
        return Wait(give_up, admission.shortage, known, for_room=True)
    if cold:  # worth a start; what its containers say of the input is decided on when they answer
        ports.scheduler.release(admission.lease.holder)
        ports.book.demand(source.address)
        return Wait(give_up, f"the containers of {source.name or source.address} are started for it", known)
    return Transition(
        TaskState.ADMITTED,
        known
        | {
            "environment": source.environment,
            "slots": admission.lease.slots,
            "devices": admission.lease.devices,
            "deadline": min(give_up, now + ports.policy.max_run),
            "bid": admission.bid,
        },
        rulings=admission.verdict.rulings,
    )


async def _read_chain(task: Task, params: SourceParams, ports: Ports) -> tuple[Task, Transition | None]:
    """Parameters and, for a task that was not published just now, what has become of it since."""
    fresh = task.version == 0 and task.boot == ports.boot and not task.obliged
    read = ports.chain.published if fresh else ports.chain.standing
    view = await read(task.address)
    task = task.but(
        payment=view.payment,
        expiry=view.expiry,
        config_url=view.config_url,
        delivery=params.delivery,
        obliged=task.obliged or view.attempted_by_us,
    )
    return task, ended(view, ports.chain.provider, _known(task))


def _known(task: Task) -> dict[str, object]:
    names = ("payment", "expiry", "config_url", "delivery", "obliged", "function", "data")
    return {name: getattr(task, name) for name in names}


def _parse_config(body: bytes) -> tuple[str, str, Reason | None]:
    """The protocol's config document: `{function_name: str, data: object, ...}`; extra keys are allowed."""
    try:
        config: Any = read_json(body)
    except ValueError as error:
        return "", "", Reason("config.not_json", f"the task's config is not JSON: {error}")
    function = config.get("function_name") if isinstance(config, dict) else None
    if not isinstance(function, str) or not function:
        return "", "", Reason("config.no_function", "the task's config has no function_name")
    return function, json.dumps(config.get("data"), separators=(",", ":")), None


def _declined(reason: Reason) -> Transition:
    return Transition(TaskState.DECLINED, reasons=(reason,))
