"""Tells the operator's receiver of alerts, by one POST each; a receiver that is dead delays nothing but itself.

An answer of 2xx is taken for delivered. What was not is tried again, patiently, for as long as there is something to
tell: the receiver may get one twice, by the same id, and none is lost over a restart.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from ogpu_provider.control.alerts import Alert, Alerts
from ogpu_provider.control.diagnosis import Finding, Severity
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import FetchError, Retry, StoreError
from ogpu_provider.domain.units import short

log = structlog.get_logger()

LOOK_S = 15.0
TRIES = 5
REST_S = 300.0
"""Seconds between two looks, and after `TRIES` that failed."""
LIMIT_S = 15.0
"""Seconds for one POST."""
NOTE = "alerts"
"""Where the journal keeps what was told."""
TEST_CODE = "alerts.test"

Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[tuple[int, float]]]
"""POSTs a body: the answer's status and the pause in seconds that it asks for. Raises FetchError."""


class Notes(Protocol):
    """What the journal keeps about itself. Both raise StoreError."""

    async def note(self, key: str, text: str) -> None: ...
    async def meta(self) -> dict[str, str]: ...


@dataclass(frozen=True, slots=True)
class Receiver:
    """`url` may hold a secret; `to` is what of it may be shown. `limit` in seconds."""

    url: str
    to: str
    post: Post
    limit: float = LIMIT_S

    async def tell(self, body: Mapping[str, Any]) -> int:
        """The status that it answered, of 2xx. Raises FetchError for another one, and for none in time."""
        try:
            async with asyncio.timeout(self.limit):
                status, _ = await self.post(self.url, json.dumps(body).encode(), {"content-type": "application/json"})
        except TimeoutError as error:
            raise FetchError(f"no answer within {self.limit:g} s", code="fetch.timeout") from error
        if not 200 <= status < 300:
            later = status in (408, 425, 429) or status >= 500
            retry = Retry.LATER if later else Retry.NEVER
            raise FetchError(f"it answered HTTP {status}", code="fetch.status", retry=retry)
        return status


@dataclass(frozen=True, slots=True)
class Sender:
    """Who tells."""

    provider: str
    network: str

    def message(self, alert: Alert, at: float, *, over: bool = False) -> dict[str, Any]:
        """What is posted. `id` is the same for an alert, its reminders and its end."""
        what = "over" if over else f"still {alert.severity}" if alert.told else alert.severity.value
        return {
            "id": alert.id,
            "at": at,
            "since": alert.since,
            "severity": alert.severity.value,
            "code": alert.code,
            "subject": alert.subject,
            "title": f"OGPU provider {short(self.provider)}: {alert.code} ({what})",
            "text": alert.text,
            "remedy": alert.remedy,
            "provider": self.provider,
            "network": self.network,
            "told": alert.told,
            "resolved": over,
        }


def trial(at: float) -> Alert:
    """An alert that only asks whether somebody is there."""
    text = "this is a test: whoever reads it will be told when something is wrong with this provider"
    return Alert(f"test-{int(at)}", TEST_CODE, "", Severity.INFO, text, "", at)


class Alarm:
    """`look` says what is found now. `problem`: why the last try failed, empty if it did not."""

    def __init__(
        self,
        alerts: Alerts,
        look: Callable[[], Iterable[Finding]],
        sender: Sender,
        receiver: Receiver,
        notes: Notes,
        clock: Clock,
    ) -> None:
        self._alerts = alerts
        self._look = look
        self._sender = sender
        self._receiver = receiver
        self._notes = notes
        self._clock = clock
        self._noted = ""
        self._trying: Alert | None = None
        self._due = asyncio.Event()
        self.problem = ""

    async def run(self) -> None:
        """A service. Raises StoreError for a journal that cannot be read at the start."""
        self._restore((await self._notes.meta()).get(NOTE, ""))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="alerts watched")
            group.create_task(self._deliver(), name="alerts told")

    def document(self) -> dict[str, Any]:
        """For `status`."""
        return {
            "to": self._receiver.to,
            "problem": self.problem or None,
            "waiting": self._alerts.waiting(self._clock.now()),
            "left_out": self._alerts.left_out,
            "standing": [
                {
                    "id": one.id,
                    "code": one.code,
                    "subject": one.subject or None,
                    "severity": one.severity.value,
                    "text": one.text,
                    "remedy": one.remedy or None,
                    "since": one.since,
                    "told": one.told,
                    "told_at": one.told_at,
                }
                for one in self._alerts.told()
            ],
        }

    def _restore(self, text: str) -> None:
        try:
            rows = json.loads(text or "[]")
        except ValueError:
            rows = []
        if isinstance(rows, list):
            self._alerts.restore([row for row in rows if isinstance(row, dict)])
        self._noted = text

    async def _watch(self) -> None:
        while True:
            self._alerts.look(self._look(), self._clock.now())
            if self._alerts.due(self._clock.now()) is not None:
                self._due.set()
            await self._clock.sleep(LOOK_S)

    async def _deliver(self) -> None:
        while True:
            if self._alerts.due(self._clock.now()) is None:
                self._due.clear()
                await self._due.wait()
            try:
                await self._patiently()
            except FetchError as error:
                if error.retry is not Retry.NEVER:
                    await self._clock.sleep(REST_S)
                elif self._trying is not None:  # it is this one that is not taken: others may be
                    self._trying.not_before = self._clock.now() + REST_S
            await self._write_down()

    async def _patiently(self) -> None:
        tries = AsyncRetrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(),
            retry=retry_if_exception(_passing),
            sleep=self._clock.sleep,
            reraise=True,
        )
        async for attempt in tries:
            with attempt:
                await self._tell()

    async def _tell(self) -> None:
        """What is due by now: while a receiver rested, it may be another one, or none any more."""
        now = self._clock.now()
        alert = self._trying = self._alerts.due(now)
        if alert is None:
            return
        over = alert.is_over(now, self._alerts.policy.after)
        try:
            await self._receiver.tell(self._sender.message(alert, now, over=over))
        except FetchError as error:
            if str(error) != self.problem:
                log.warning(
                    "alert_not_told", alert=alert.code, to=self._receiver.to, code=error.code, reason=str(error)
                )
            self.problem = str(error)
            raise
        self.problem = ""
        log.info("alert_told", alert=alert.code, about=alert.subject or None, over=over)
        self._alerts.was_told(alert, self._clock.now(), over=over)

    async def _write_down(self) -> None:
        text = json.dumps(self._alerts.rows())
        if text == self._noted:
            return
        try:
            await self._notes.note(NOTE, text)
            self._noted = text
        except StoreError as error:  # at worst it is told once more after a restart
            log.warning("alerts_not_kept", code=error.code, reason=str(error))


def _passing(error: BaseException) -> bool:
    return isinstance(error, FetchError) and error.retry is not Retry.NEVER
