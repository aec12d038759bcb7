"""From the settings to somebody who is told: the alarm of one daemon, if its operator wants any."""

import secrets
from urllib.parse import urlsplit

from ogpu_provider import config, telemetry
from ogpu_provider.control.alarm import Alarm, Notes, Receiver, Sender
from ogpu_provider.control.alerts import AlertPolicy, Alerts
from ogpu_provider.control.desk import Desk
from ogpu_provider.control.diagnosis import Finding, Severity, findings
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.units import Address
from ogpu_provider.ipfs.webhook import Poster
from ogpu_provider.settings import Settings
from ogpu_provider.values import bare


def receiver_of(settings: Settings, poster: Poster) -> Receiver | None:
    """None where nobody is to be told. Raises ConfigError for a file that does not give its URL."""
    found = config.alert_url(settings.alerts)
    if found is None:
        return None
    url = found.reveal()
    parts = urlsplit(url)
    for secret in (url, parts.path.strip("/"), parts.query):
        telemetry.redaction.register(secret)
    return Receiver(url, bare(url), poster.post)


class Alerting:
    """`run` is the service; it ends at once where nobody is to be told. `desk` says what is wrong, and shows what of it
    was told. Raises ConfigError as `receiver_of`.
    """

    def __init__(self, settings: Settings, desk: Desk, notes: Notes, clock: Clock, provider: Address) -> None:
        self._poster = Poster(allow_private=True)
        self._desk = desk
        self._sender = Sender(provider, desk.network)
        receiver = receiver_of(settings, self._poster)
        self._alarm = receiver and Alarm(
            Alerts(_policy(settings), lambda: secrets.token_hex(8)), self._found, self._sender, receiver, notes, clock
        )
        if self._alarm:
            desk.alerts = self._alarm.document

    async def run(self) -> None:
        async with self._poster:
            if self._alarm:
                await self._alarm.run()

    def _found(self) -> list[Finding]:
        return findings(self._desk.standing() | {"running": True, "provider": self._sender.provider})


def _policy(settings: Settings) -> AlertPolicy:
    chosen = settings.alerts
    return AlertPolicy(chosen.after, chosen.remind_every, Severity(chosen.least))
