"""A source as an operator wants to see it before promising anything: terms, fit, and the gate's verdict."""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from ogpu_provider.chain.contracts import Malformed, decode_result
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.domain.documents import read_json
from ogpu_provider.domain.errors import FetchError, ProviderError
from ogpu_provider.domain.resources import Host
from ogpu_provider.domain.source import Environment, SourceParams, SourceStatus
from ogpu_provider.domain.units import ZERO_ADDRESS, Address
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.onboarding import manifest
from ogpu_provider.runtime.compose.gate import inspect
from ogpu_provider.runtime.compose.interpolation import Variables
from ogpu_provider.runtime.compose.policy import Limits
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.scheduler.placement import choose_environment

DOCUMENT_LIMIT = 256 * 1024
AT_ONCE = 8
EXAMPLE = Variables(port=49152, callback_url="http://172.17.0.1:49152", source=ZERO_ADDRESS, provider=ZERO_ADDRESS)


@dataclass(frozen=True, slots=True)
class Offer:
    """`environment` is the one it would run in here, None if it does not fit. `problem` says why not, or what of it
    cannot be read. `image_bytes`: compressed, of all its images, None if a registry does not tell."""

    params: SourceParams
    name: str
    tasks: int
    registrants: int
    registered: Environment | None
    environment: Environment | None
    accepted: bool
    problem: str
    images: tuple[Image, ...] = ()
    image_bytes: int | None = None

    @property
    def address(self) -> Address:
        return self.params.address


async def offers(
    reader: ChainReader, fetcher: Fetcher, host: Host, addresses: Iterable[Address], wanted: Environment | None
) -> list[Offer]:
    """In the order of the addresses. Raises ChainError; a document that cannot be fetched is a problem of its offer."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(address: Address) -> Offer:
        async with limit:
            return await offer(reader, fetcher, host, address, wanted)

    return list(await asyncio.gather(*(one(address) for address in addresses)))


async def offer(
    reader: ChainReader, fetcher: Fetcher, host: Host, address: Address, wanted: Environment | None
) -> Offer:
    """Raises ProviderError source.unknown where there is no source."""
    try:
        params = await reader.source(address)
    except Malformed as error:
        raise ProviderError(
            f"there is no source at {address}", code="source.unknown", remedy="copy its address again"
        ) from error
    tasks, registrants = await reader.reads(
        (address, "Source.getTaskCount", ()), (address, "Source.getRegistrantCount", ())
    )
    registered = await reader.registered_environment(address)
    environment = registered or _environment(params.environments, host, wanted)
    name, accepted, problem, images = await _judged(fetcher, params, environment)
    sizes = [await manifest.size(fetcher, image) for image in images] if accepted else []
    return Offer(
        params=params,
        name=name,
        tasks=decode_result("Source.getTaskCount", tasks),
        registrants=decode_result("Source.getRegistrantCount", registrants),
        registered=registered,
        environment=environment,
        accepted=accepted,
        problem=problem,
        images=images,
        image_bytes=sum(s for s in sizes if s is not None) if sizes and None not in sizes else None,
    )


def _environment(offered: Collection[Environment], host: Host, wanted: Environment | None) -> Environment | None:
    if wanted is None:
        return choose_environment(offered, host)
    return wanted if wanted in offered and wanted in host.environments else None


async def _judged(
    fetcher: Fetcher, params: SourceParams, environment: Environment | None
) -> tuple[str, bool, str, tuple[Image, ...]]:
    """Name, verdict, what is wrong, images."""
    try:
        metadata = await _metadata(fetcher, params.metadata_url)
    except FetchError as error:
        return "", False, f"its metadata: {error}", ()
    name = str(metadata.get("name") or "")[:60]
    if params.status is SourceStatus.INACTIVE:
        return name, False, "its client has set it inactive", ()
    if environment is None:
        offered = ", ".join(sorted(env.label for env in params.environments))
        return name, False, f"for {offered or 'nothing'}, which this host does not have", ()
    url = metadata.get(environment.label)
    if not isinstance(url, str) or not url:
        return name, False, f"its metadata names no compose file for {environment.label}", ()
    try:
        text = await fetcher.get(url, limit_bytes=DOCUMENT_LIMIT)
    except FetchError as error:
        return name, False, f"its compose file: {error}", ()
    limits = Limits(private_registries=fetcher.allows_private, registries=fetcher.places)
    project, _, violations = inspect(text, environment, EXAMPLE, limits)
    if project is None:
        first = violations[0]
        more = f" and {len(violations) - 1} more" if len(violations) > 1 else ""
        return name, False, f"refused: line {first.line}: {first.key}: {first.message}{more}", ()
    images = tuple(dict.fromkeys(service.image for service in project.services))
    return name, True, "", images


async def _metadata(fetcher: Fetcher, url: str) -> dict[str, Any]:
    try:
        found = read_json(await fetcher.get(url, limit_bytes=DOCUMENT_LIMIT))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise FetchError("not a JSON object", code="metadata.not_json")
    return found
