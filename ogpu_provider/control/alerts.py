"""What a person is to be told: a condition that stands is an alert, told once, again after a time, and when it is over.

    finding seen ──after──▶ told ──remind──▶ told again … ──gone for after──▶ told that it is over
         └─gone before it was told: nothing                └─back before that: as if it had never gone

Pure; unix seconds. Code and subject of a finding say whether it is still the same condition.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ogpu_provider.control.diagnosis import Finding, Severity

MOST = 200
"""Alerts at once; of more conditions, those that came first are told."""
LONGEST = 1000
"""Characters of a text: authors of sources have a say in some."""
_RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """Seconds: `after` so long without a break a condition is told, or said to be over; `remind` after that again,
    None: never. `least` severity that is told.
    """

    after: float = 120.0
    remind: float | None = 6 * 3600.0
    least: Severity = Severity.WARNING


@dataclass(slots=True)
class Alert:
    """`told` so many times, the last time at `told_at`. `gone_at`: since when the condition is not there."""

    id: str
    code: str
    subject: str
    severity: Severity
    text: str
    remedy: str
    since: float
    told: int = 0
    told_at: float = 0.0
    gone_at: float | None = None
    not_before: float = 0.0

    def is_over(self, now: float, after: float) -> bool:
        return self.gone_at is not None and now - self.gone_at >= after


Row = Mapping[str, Any]
_KEPT = tuple(field.name for field in fields(Alert) if field.name not in ("gone_at", "not_before"))


class Alerts:
    """Of one daemon. `look` at what is found now; then `due` says what is to be told, and `was_told` that it was.

    `new_id` gives each alert a name of its own, by which its reminders and its end are known. `left_out`: conditions
    that there was no room for at the last look.
    """

    def __init__(self, policy: AlertPolicy, new_id: Callable[[], str]) -> None:
        self.policy = policy
        self.left_out = 0
        self._new_id = new_id
        self._alerts: dict[tuple[str, str], Alert] = {}

    def __len__(self) -> int:
        return len(self._alerts)

    def look(self, found: Iterable[Finding], now: float) -> None:
        least = _RANK[self.policy.least]
        there = {(one.code, one.subject): one for one in found if _RANK[one.severity] >= least}
        self.left_out = 0
        for key, finding in there.items():
            self._stands(key, finding, now)
        for key, alert in tuple(self._alerts.items()):
            if key not in there:
                self._is_gone(key, alert, now)

    def due(self, now: float) -> Alert | None:
        """The gravest that is to be told now, of several the oldest."""
        waiting = [alert for alert in self._alerts.values() if self._is_due(alert, now)]
        return min(waiting, key=lambda one: (-_RANK[one.severity], one.since), default=None)

    def was_told(self, alert: Alert, now: float, *, over: bool) -> None:
        """`over`: that it is over; then it is forgotten. Else its end will be told, whatever happened meanwhile."""
        if over:
            self._alerts.pop((alert.code, alert.subject), None)
        else:
            alert.told, alert.told_at = alert.told + 1, now
            self._alerts[alert.code, alert.subject] = alert

    def told(self) -> list[Alert]:
        """Those that somebody was told of, and that are not over; the oldest first."""
        return sorted((alert for alert in self._alerts.values() if alert.told), key=lambda one: one.since)

    def waiting(self, now: float) -> int:
        """How many are to be told and were not."""
        return sum(self._is_due(alert, now, patient=False) for alert in self._alerts.values())

    def rows(self) -> list[dict[str, Any]]:
        """What is to be kept over a restart: those that were told, so that they are not told as new again."""
        return [{name: value for name, value in asdict(one).items() if name in _KEPT} for one in self.told()]

    def restore(self, rows: Sequence[Row]) -> None:
        """What an earlier run kept; what does not fit is left out, and its condition told once more."""
        for row in rows[:MOST]:
            try:
                known = {name: row[name] for name in _KEPT}
                alert = Alert(**known | {"severity": Severity(row["severity"]), "since": float(row["since"])})
                self._alerts[str(alert.code), str(alert.subject)] = alert
            except (KeyError, TypeError, ValueError):
                continue

    def _stands(self, key: tuple[str, str], finding: Finding, now: float) -> None:
        alert = self._alerts.get(key)
        if alert is None:
            if len(self._alerts) >= MOST:
                self.left_out += 1
                return
            alert = Alert(self._new_id(), *key, finding.severity, "", "", now)
            self._alerts[key] = alert
        alert.severity, alert.gone_at = finding.severity, None
        alert.text, alert.remedy = finding.text[:LONGEST], finding.remedy[:LONGEST]

    def _is_gone(self, key: tuple[str, str], alert: Alert, now: float) -> None:
        if not alert.told:
            del self._alerts[key]
        elif alert.gone_at is None:
            alert.gone_at = now

    def _is_due(self, alert: Alert, now: float, *, patient: bool = True) -> bool:
        if patient and now < alert.not_before:
            return False
        if alert.gone_at is not None:
            return alert.is_over(now, self.policy.after)
        if not alert.told:
            return now - alert.since >= self.policy.after
        return self.policy.remind is not None and now - alert.told_at >= self.policy.remind
