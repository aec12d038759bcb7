"""`ogpu-provider sources`: what we serve, and what not."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts
from cyclopts import Parameter

from ogpu_provider.cli import journal
from ogpu_provider.cli.live import daemon_of
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import at, document, printable, table
from ogpu_provider.domain.errors import ControlError
from ogpu_provider.domain.units import Address, coin

if TYPE_CHECKING:
    from ogpu_provider.domain.source import ServedSource

MIB = 1 << 20
app = cyclopts.App(name="sources", help="The sources this provider serves, or would.")

SourceAddress = Annotated[str, Parameter(help="Address of the source.")]


@app.command(name="list")
@app.default
async def list_sources(*, json: AsJson = False, config: ConfigFile = None) -> None:
    """List sources with their state, why one cannot be served, what is pulled for one, and what one asks you."""
    async with journal.opened(config) as reader:
        found = await _documents(await reader.sources(), config)
    if json:
        document(found)
        return
    rows = [
        (
            s["address"],
            (s["name"] or "")[:32],
            s["state"],
            s["environment"],
            "yes" if s["registered"] else "no",
            "" if s["min_payment_wei"] is None else coin(s["min_payment_wei"]),
            at(s["updated_at"]),
            standing(s),
        )
        for s in found
    ]
    table(("SOURCE", "NAME", "STATE", "AS", "REGISTERED", "PAYS FROM", "UPDATED", "REASON"), rows)


async def _documents(found: Sequence["ServedSource"], config: Path | None) -> list[dict[str, Any]]:
    """From the running daemon, which knows their traffic and pulls, too; from the journal, and the list of images,
    where there is none, or it is mute.
    """
    from ogpu_provider.control.report import source_document
    from ogpu_provider.runtime.shelf import Shelf

    running: dict[str, dict[str, Any]] = {}
    with suppress(ControlError):
        status = await daemon_of(config).ask("status")
        running = {document["address"]: document for document in status["sources"]}
    shelf = Shelf(journal.read_settings(config).images_list)
    await shelf.load()
    offers = shelf.offers()
    return [
        running.get(source.address) or source_document(source, offers=offers.get(source.address, ()))
        for source in found
    ]


def standing(source: dict[str, Any]) -> str:
    """What there is to say of a source, in one line: why not, how far its images are, what it asks."""
    parts = [f"{source['code']}: {source['reason']}"] if source["code"] else []
    parts += [
        f"pulling {pull['image']}: {pull['layers_done']} of {pull['layers']} layers, "
        f"{pull['bytes_done'] >> 20} of {pull['bytes'] >> 20} MiB, {pull['rate'] / MIB:.1f} MiB/s"
        for pull in source["pulling"]
    ]
    parts += [
        f"image.changed: {offer['image']} is {offer['offered'][:19]} by now, {offer['used'][:19]} runs; "
        f"`ogpu-provider sources approve {source['address']}`"
        for offer in source["images_offered"]
    ]
    return "; ".join(parts)


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


@app.command
async def approve(
    source: SourceAddress,
    /,
    *,
    sha256: Annotated[
        str,
        Parameter(show_default=False, help="Only if this is the file that was last fetched, as `sources` shows it."),
    ] = "",
    digest: Annotated[
        str,
        Parameter(show_default=False, help="Only if this is what is offered under an image's tag, and that alone."),
    ] = "",
    waive: Annotated[
        tuple[str, ...],
        Parameter(negative="", show_default=False, help="Lift this rule for this very file. Repeatable."),
    ] = (),
    reason: Annotated[str, Parameter(show_default=False, help="Why; needed with --waive and kept.")] = "",
    json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Let the compose file that was last fetched for a source run here, until it changes again; and what registries
    offer by now under the tags of its images.

    Three rules of the gate can be lifted for it: compose.bind_mount, compose.shm_size, compose.ipc_private.
    """
    address = journal.whole_address(source)
    args: dict[str, Any] = {"sha256": sha256, "waive": list(waive), "reason": reason}
    try:
        answer = await daemon_of(config).ask("sources.approve", source=address, digest=digest, **args)
    except ControlError as error:
        if error.code != "control.no_daemon":
            raise
        answer = await _approve_offline(address, config, digest, **args)
    if json:
        document(answer)
        return
    lifted = f", without {', '.join(answer['waived'])}" if answer["waived"] else ""
    print(printable(f"{address} may run the file {answer['sha256']}{lifted}"))
    for image in answer["images_accepted"]:
        print(printable(f"{image} is what its registry has by now, from the next start of the source's containers on"))


async def _approve_offline(address: Address, config: ConfigFile, digest: str, **args: Any) -> dict[str, Any]:
    """No daemon runs: the journal is ours to write. Its lock keeps a daemon that starts meanwhile apart."""
    from ogpu_provider.control.report import approval_document
    from ogpu_provider.domain.approval import OnChange
    from ogpu_provider.pipeline.approvals import Approvals
    from ogpu_provider.runtime.compose.rules import WAIVABLE
    from ogpu_provider.runtime.shelf import Shelf
    from ogpu_provider.store.sqlite import SqliteStore

    settings = journal.read_settings(config)
    async with journal.opened(config) as reader:
        meta = await reader.meta()
    store = await SqliteStore.open(settings.journal, chain_id=int(meta["chain_id"]), provider=Address(meta["provider"]))
    try:
        on_change, shelf = OnChange(settings.sources.on_change), Shelf(settings.images_list)
        await shelf.load()
        if digest and digest not in {offer.offered for offer in shelf.offers().get(address, ())}:
            text = f"no image of {address} is offered as {digest[:80]}"
            raise ControlError(text, code="approve.other_image", remedy="look at `ogpu-provider sources` again")
        approval = await Approvals(store, on_change).approve(address, waivable=WAIVABLE, **args)
        images = () if on_change is OnChange.NEVER else await shelf.accept(address, digest)
        return approval_document(approval) | {"images_accepted": list(images)}
    finally:
        await store.close()


def _told(answer: dict[str, Any], json: bool, sentence: str) -> None:
    if json:
        document(answer)
    else:
        print(printable(f"{answer['name'] or 'source'} {answer['address']} {sentence}"))
