"""What an image is, asked of its registry before anything of it is pulled.

The registry is chosen by a stranger, so it is spoken to through the fetcher that checks addresses, and what it
answers is held against the digest. Names are read as the engine reads them: without a registry, Docker Hub is meant.
"""

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from ogpu_provider.domain.documents import read_json
from ogpu_provider.domain.errors import EngineError, FetchError, Retry
from ogpu_provider.runtime.compose.quantities import Image

HUB = "registry-1.docker.io"
MANIFEST_LIMIT = CONFIG_LIMIT = 4 << 20
TOKEN_LIMIT = 64 << 10
"""Bytes; what is longer is refused unread."""
_TYPES = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_PARAMETER = re.compile(r'([a-z_]+)="([^"]*)"')
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class Fetch(Protocol):
    """Gets a document from a URL that somebody else chose. Raises FetchError."""

    async def get(
        self, url: str, *, limit_bytes: int, timeout_s: float = 30.0, headers: Mapping[str, str] | None = None
    ) -> bytes: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """An operator's account at a registry. Its repr says nothing."""

    user: str
    password: str

    def __repr__(self) -> str:
        return "Login(…)"

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def for_engine(self, host: str) -> dict[str, str]:
        return {"username": self.user, "password": self.password, "serveraddress": host}


@dataclass(frozen=True, slots=True)
class Manifest:
    """`digest` is what pins it: of the index where there is one. `layers`: digest to compressed bytes."""

    digest: str
    layers: Mapping[str, int]
    machine: str

    @property
    def size(self) -> int:
        return sum(self.layers.values())


class Registries:
    """`fetch` speaks to registries; `logins` are the operator's accounts, by host. `machine`: this host's kind."""

    def __init__(self, fetch: Fetch, logins: Mapping[str, Login] | None = None, *, machine: str = "") -> None:
        self._fetch = fetch
        self._logins = logins or {}
        self._machine = _MACHINES.get(machine or os.uname().machine, machine)

    async def aclose(self) -> None:
        await self._fetch.aclose()

    def login(self, image: Image) -> Mapping[str, str]:
        """What the engine is given to pull an image; empty for nobody's."""
        host = place(image)[0]
        found = self._login(host)
        return found.for_engine(host) if found else {}

    async def manifest(self, image: Image, *, timeout_s: float = 20.0) -> Manifest:
        """Raises EngineError: engine.image_missing, .image_denied, .image_platform, .bad_manifest,
        .registry_refused (its address is not public), .registry_silent.
        """
        visit = _Visit(self, image, timeout_s)
        name = image.digest or image.tag or "latest"
        top, digest = await visit.document(f"manifests/{name}", MANIFEST_LIMIT, image.digest)
        manifest = top
        if "manifests" in top:
            chosen = self._of_this_machine(top, image)
            manifest, _ = await visit.document(f"manifests/{chosen}", MANIFEST_LIMIT, chosen)
        try:
            layers = {str(layer["digest"]): _length(layer["size"]) for layer in manifest["layers"]}
            config = str(manifest["config"]["digest"])
        except (KeyError, TypeError, ValueError) as error:
            raise _bad(image, "no manifest with layers") from error
        described, _ = await visit.document(f"blobs/{config}", CONFIG_LIMIT, config)
        machine = str(described.get("architecture") or "")
        if machine != self._machine or described.get("os", "linux") != "linux":
            raise self._foreign(image, f"{described.get('os')}/{machine}")
        return Manifest(digest, layers, machine)

    async def digest(self, image: Image, *, timeout_s: float = 5.0) -> str:
        """What a tag stands for now. Raises like `manifest`."""
        _, digest = await _Visit(self, image, timeout_s).document(f"manifests/{image.tag or 'latest'}", MANIFEST_LIMIT)
        return digest

    def _login(self, host: str) -> Login | None:
        return self._logins.get("docker.io" if host == HUB else host) or self._logins.get(host)

    def _of_this_machine(self, index: Mapping[str, Any], image: Image) -> str:
        offered = []
        for entry in index["manifests"] if isinstance(index["manifests"], list) else ():
            platform = entry.get("platform") if isinstance(entry, dict) else None
            if not isinstance(platform, dict):
                continue
            if (platform.get("os"), platform.get("architecture")) == ("linux", self._machine):
                return str(entry.get("digest"))
            offered.append(f"{platform.get('os')}/{platform.get('architecture')}")
        raise self._foreign(image, ", ".join(offered[:10]) or "nothing")

    def _foreign(self, image: Image, offered: str) -> EngineError:
        text = f"{image} is made for {offered[:200]}, this host is linux/{self._machine}"
        return EngineError(text, code="engine.image_platform", retry=Retry.NEVER)


class _Visit:
    """One conversation with a registry: what it asks for to let us read is asked for once."""

    def __init__(self, registries: Registries, image: Image, timeout_s: float) -> None:
        self._image = image
        self._host, self._repository = place(image)
        self._fetch = registries._fetch
        self._login = registries._login(self._host)
        self._timeout_s = timeout_s
        self._authorization = ""

    async def document(self, path: str, limit: int, digest: str = "") -> tuple[Mapping[str, Any], str]:
        """A JSON object and its digest, which is the one asked for."""
        body = await self._get(f"{base_url(self._host)}/v2/{quote(self._repository)}/{quote(path, safe='/:')}", limit)
        found = "sha256:" + hashlib.sha256(body).hexdigest()
        if digest and found != digest:
            raise _bad(self._image, f"the registry gave {found} for {digest}")
        try:
            document: Any = read_json(body)
        except (ValueError, RecursionError) as error:
            raise _bad(self._image, "no JSON") from error
        if not isinstance(document, dict):
            raise _bad(self._image, "no object")
        return document, found

    async def _get(self, url: str, limit: int) -> bytes:
        try:
            try:
                return await self._once(url, limit)
            except FetchError as error:
                if not error.challenge or self._authorization:
                    raise
                self._authorization = await self._answer(error.challenge)
                return await self._once(url, limit)
        except FetchError as error:
            raise self._translated(error) from error

    async def _once(self, url: str, limit: int) -> bytes:
        headers = {"Accept": _TYPES}
        if self._authorization:
            headers["Authorization"] = self._authorization
        return await self._fetch.get(url, limit_bytes=limit, timeout_s=self._timeout_s, headers=headers)

    async def _answer(self, challenge: str) -> str:
        """The header that a registry's 401 asks for (RFC 9110 11.6; its token service, RFC 6750)."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._login:
            return self._login.basic
        values = dict(_PARAMETER.findall(rest))
        realm = values.get("realm", "")
        # an account goes only where the registry itself is trusted to send it, and never unencrypted past this host
        if scheme.lower() != "bearer" or urlsplit(realm).scheme not in ("https", urlsplit(base_url(self._host)).scheme):
            raise FetchError("asks for what we do not have", code="fetch.status", retry=Retry.NEVER)
        asked = {"service": values.get("service", ""), "scope": f"repository:{self._repository}:pull"}
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}"
        headers = {"Authorization": self._login.basic} if self._login else None
        body = await self._fetch.get(url, limit_bytes=TOKEN_LIMIT, timeout_s=self._timeout_s, headers=headers)
        try:
            answer: Any = read_json(body)
            token = answer.get("token") or answer.get("access_token")
        except (ValueError, AttributeError, RecursionError) as error:
            raise FetchError("no token", code="fetch.status", retry=Retry.LATER) from error
        return f"Bearer {token}"

    def _translated(self, error: FetchError) -> EngineError:
        text = f"{self._image}: the registry {self._host} {error}"
        match error.code, error.status:
            case "fetch.status", 404:
                return EngineError(text, code="engine.image_missing", retry=Retry.LATER)
            case "fetch.status", 401 | 403 | 0:
                remedy = (
                    f"if the image is private, name a file with user:password in images.credentials for {self._host}"
                )
                return EngineError(text, code="engine.image_denied", retry=Retry.LATER, remedy=remedy)
            case "fetch.forbidden_address" | "fetch.bad_url", _:
                remedy = "images come from public registries, at port 443 or one listed in images.registries"
                return EngineError(text, code="engine.registry_refused", retry=Retry.LATER, remedy=remedy)
        if error.retry is Retry.NEVER:
            return EngineError(text, code="engine.bad_manifest", retry=Retry.LATER)
        return EngineError(text, code="engine.registry_silent", retry=Retry.LATER)


def place(image: Image) -> tuple[str, str]:
    """Registry and repository, as the engine reads a name."""
    first, slash, rest = image.repository.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return (HUB, rest if "/" in rest else f"library/{rest}") if first == "docker.io" else (first, rest)
    return HUB, image.repository if slash else f"library/{image.repository}"


def base_url(host: str) -> str:
    """Engines speak plain HTTP with a registry on loopback, and HTTPS with every other."""
    name = host.rpartition(":")[0] or host
    return f"{'http' if name == 'localhost' or name.startswith('127.') else 'https'}://{host}"


def _length(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("no length")
    return value


def _bad(image: Image, text: str) -> EngineError:
    return EngineError(f"{image}: {text}", code="engine.bad_manifest", retry=Retry.LATER)
