"""`ogpu-provider sources`: what we serve, and what not."""

from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from ogpu_provider.cli import journal
from ogpu_provider.cli.live import daemon_of
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import at, document, printable, table
from ogpu_provider.domain.units import coin

app = cyclopts.App(name="sources", help="The sources this provider serves, or would.")

SourceAddress = Annotated[str, Parameter(help="Address of the source.")]


@app.command(name="list")
@app.default
async def list_sources(*, json: AsJson = False, config: ConfigFile = None) -> None:
    """List sources with their state, and why one cannot be served."""
    from ogpu_provider.control.report import source_document

    async with journal.opened(config) as reader:
        found = await reader.sources()
    if json:
        document([source_document(source) for source in found])
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


@app.command
async def add(source: SourceAddress, /, *, json: AsJson = False, config: ConfigFile = None) -> None:
    """Have the running daemon serve a source from now on: gate, images, containers, then registration.

    The wish is kept in the journal and holds over restarts, besides what sources.serve lists.
    """
    answer = await daemon_of(config).ask("sources.add", source=journal.whole_address(source))
    _told(answer, json, "will be served; `ogpu-provider sources` shows how far it is")


@app.command
async def remove(
    source: SourceAddress,
    /,
    *,
    unregister: Annotated[
        bool, Parameter(negative="", show_default=False, help="Undo the registration on chain, too: a transaction.")
    ] = False,
    json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Have the running daemon serve a source no more: no new task, and its project goes down after the last one.

    The registration stays unless --unregister is given. Holds over restarts until `sources add`.
    """
    address = journal.whole_address(source)
    answer = await daemon_of(config).ask("sources.remove", source=address, unregister=unregister)
    _told(answer, json, "takes no new task; its project goes down when its work is done")


@app.command
async def retry(source: SourceAddress, /, *, json: AsJson = False, config: ConfigFile = None) -> None:
    """Have the running daemon look at a source again at once, for instance when what kept it from serving is mended."""
    answer = await daemon_of(config).ask("sources.retry", source=journal.whole_address(source))
    _told(answer, json, "is looked at again")


def _told(answer: dict[str, Any], json: bool, sentence: str) -> None:
    if json:
        document(answer)
    else:
        print(printable(f"{answer['name'] or 'source'} {answer['address']} {sentence}"))
