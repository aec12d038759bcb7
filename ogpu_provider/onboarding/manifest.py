"""How big an image is, from its registry's manifest. A convenience: what cannot be read is not known."""

from typing import Any
from urllib.parse import quote

from ogpu_provider.domain.documents import read_json
from ogpu_provider.domain.errors import FetchError
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.runtime.compose.quantities import Image

LIMIT = 1 << 20
_TYPES = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_TOKENS = {
    "registry-1.docker.io": "https://auth.docker.io/token?service=registry.docker.io&scope=repository:{}:pull",
    "ghcr.io": "https://ghcr.io/token?scope=repository:{}:pull",
}
"""Where the two usual registries give everybody a token to read with."""


async def size(fetcher: Fetcher, image: Image) -> int | None:
    """Compressed bytes of all layers for this architecture (amd64), None if the registry does not tell."""
    host, repository = place(image)
    try:
        headers = {"Accept": _TYPES}
        if host in _TOKENS:
            answer = read_json(await fetcher.get(_TOKENS[host].format(quote(repository)), limit_bytes=LIMIT))
            headers["Authorization"] = f"Bearer {answer['token']}"
        manifest = await _manifest(fetcher, host, repository, image.digest or image.tag or "latest", headers)
        if "manifests" in manifest:
            chosen = next(m for m in manifest["manifests"] if m["platform"]["architecture"] == "amd64")
            manifest = await _manifest(fetcher, host, repository, str(chosen["digest"]), headers)
        return sum(int(layer["size"]) for layer in manifest["layers"])
    except (FetchError, ValueError, KeyError, TypeError, StopIteration, RecursionError):
        return None


async def _manifest(fetcher: Fetcher, host: str, repository: str, name: str, headers: dict[str, str]) -> dict[str, Any]:
    scheme = "http" if host.partition(":")[0] in ("localhost", "127.0.0.1") else "https"
    url = f"{scheme}://{host}/v2/{quote(repository)}/manifests/{quote(name)}"
    found: Any = read_json(await fetcher.get(url, limit_bytes=LIMIT, timeout_s=10.0, headers=headers))
    if not isinstance(found, dict):
        raise TypeError
    return found


def place(image: Image) -> tuple[str, str]:
    """Registry and repository, as the engine reads a name: without a registry it means Docker Hub."""
    first, slash, rest = image.repository.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return ("registry-1.docker.io", rest) if first == "docker.io" else (first, rest)
    return "registry-1.docker.io", image.repository if slash else f"library/{image.repository}"
