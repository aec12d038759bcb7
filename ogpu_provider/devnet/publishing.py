"""Publishes the sample sources on a local network, with the official SDK as the client."""

from collections.abc import Callable, Sequence

from ogpu_provider.devnet.images import build_sample
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.samples import Sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.source import DeliveryMethod, Environment
from ogpu_provider.domain.units import COIN

Progress = Callable[[str], None]
MIN_PAYMENT = COIN // 1000
NO_IMAGE = "localhost/ogpu-samples/{name}@sha256:" + "0" * 64
"""Names the sample where no engine could run its image."""


def _silent(_: str) -> None: ...


async def publish_sample(
    network: LocalNetwork,
    client: SdkClient,
    name: str,
    *,
    delivery: DeliveryMethod = DeliveryMethod.FIRST_RESPONSE,
    environments: Sequence[Environment] = (Environment.CPU,),
    title: str = "",
    progress: Progress = _silent,
) -> str:
    """Build and push the images, publish the compose files and the source; return the source's address."""
    compose: dict[str, str] = {}
    for environment in environments:
        image = NO_IMAGE.format(name=name)
        if network.registry is not None:
            image = await build_sample(
                name, environment, network.registry.address, cache=network.cache, progress=progress
            )
        body = Sample.find(name, environment).compose(image)
        compose[environment.label] = await network.pinning.put(body, "text/yaml")
    progress(f"{title or name}: publishing the source with the SDK")
    address = await client.call(
        "publish_source",
        name=title or name,
        description=f"sample source {name}",
        compose=compose,
        min_payment=MIN_PAYMENT,
        min_lockup=0,
        max_expiry=86_400,
        delivery=int(delivery),
    )
    return str(address)
