"""`ogpu-provider sources`: what we serve."""

import cyclopts

from ogpu_provider.cli import journal
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import at, document, table
from ogpu_provider.domain.units import coin

app = cyclopts.App(name="sources", help="The sources this provider serves, or would.")


@app.command(name="list")
@app.default
async def list_sources(*, json: AsJson = False, config: ConfigFile = None) -> None:
    """List sources with their state, and why one cannot be served."""
    async with journal.opened(config) as reader:
        found = await reader.sources()
    if json:
        document(
            [
                {
                    "address": s.address,
                    "name": s.name or None,
                    "state": s.state,
                    "environment": s.environment.label if s.environment else None,
                    "registered": s.registered,
                    "devices": list(s.devices),
                    "min_payment_wei": s.params.min_payment if s.params else None,
                    "compose_sha256": s.compose_sha256 or None,
                    "code": s.code or None,
                    "reason": s.reason or None,
                    "updated_at": s.updated_at,
                }
                for s in found
            ]
        )
        return
    rows = [
        (
            s.address,
            s.name[:32],
            s.state,
            s.environment.label if s.environment else "",
            "yes" if s.registered else "no",
            coin(s.params.min_payment) if s.params else "",
            at(s.updated_at),
            f"{s.code}: {s.reason}" if s.code else "",
        )
        for s in found
    ]
    table(("SOURCE", "NAME", "STATE", "AS", "REGISTERED", "PAYS FROM", "UPDATED", "REASON"), rows)
