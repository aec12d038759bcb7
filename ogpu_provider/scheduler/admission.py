"""May I: the verdict of the rules and, if it is yes, a lease."""

from ogpu_provider.domain.admission import Admission, Candidate
from ogpu_provider.domain.resources import Lease, source_holder, task_holder
from ogpu_provider.scheduler import requirements
from ogpu_provider.scheduler.circumstances import Circumstances
from ogpu_provider.scheduler.ledger import Ledger
from ogpu_provider.scheduler.rules import AdmissionPolicy, judge


def admit(candidate: Candidate, policy: AdmissionPolicy, ledger: Ledger, now: Circumstances | None = None) -> Admission:
    """Judge a task and take a slot for it. The same task again gets the lease that it has.

    Accepted with a `shortage` and no lease means: nothing against it, but no room now. Devices are not in a task's
    lease; the project of its source holds them.
    """
    verdict, bid = judge(candidate, policy, now), None if now is None else now.bid
    if not verdict.accepted or candidate.environment is None:
        return Admission(verdict)
    holder = task_holder(candidate.task)
    if (held := ledger.lease(holder)) is not None:
        return Admission(verdict, held, bid=bid)
    project = ledger.lease(source_holder(candidate.source))
    devices_held = len(project.devices) if project else 0
    need = requirements.of_task(candidate.environment, devices_held, ledger.host.cpu_slots, policy.slots)
    lease = Lease(holder, slots=need.slots, source=candidate.source)
    if shortage := ledger.grant(lease, source_limit=need.source_limit):
        return Admission(verdict, shortage=shortage)
    return Admission(verdict, lease, bid=bid)
