"""A registry at a port of its own, with TLS and an account: only where it is listed, and by the address rules."""

import asyncio
import contextlib
import hashlib
import json
import secrets
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ogpu_provider.devnet.registry import ImageRegistry
from ogpu_provider.domain.errors import EngineError
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.runtime.registry import Login, Registries
from tests.accounts import htpasswd
from tests.fakes.sockets import PUBLIC, Names, Sockets, internet

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180)]
PLACE = "registry.example:5000"
IMAGE = Image(f"{PLACE}/x/y", "1")
LAYER = b"noise" * 1000


class TlsRegistry(ImageRegistry):
    """Speaks HTTPS as `registry.example`, and asks for a name and a password."""

    def __init__(self, storage: Path, login: Login) -> None:
        super().__init__(storage)
        self.login = login
        self.certificate, self._key, self._accounts = (storage / name for name in ("cert.pem", "key.pem", "accounts"))
        storage.mkdir(parents=True)
        self._accounts.write_text(htpasswd(login))

    async def certify(self) -> None:
        command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=registry.example"
        command += f" -addext subjectAltName=DNS:registry.example -keyout {self._key} -out {self.certificate}"
        made = await asyncio.create_subprocess_exec("openssl", *command.split(), stderr=asyncio.subprocess.DEVNULL)
        assert await made.wait() == 0

    def _config(self) -> dict[str, object]:
        tls = {"certificate": str(self.certificate), "key": str(self._key)}
        plain = super()._config()
        http = plain["http"]
        assert isinstance(http, dict)
        accounts = {"htpasswd": {"realm": "test", "path": str(self._accounts)}}
        return {**plain, "http": {**http, "tls": tls}, "auth": accounts}

    async def _answers(self) -> None:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.05)

    async def publish(self, layer: bytes) -> str:
        """By the registry's own interface; the digest of the manifest."""
        trusting = ssl.create_default_context(cafile=str(self.certificate))
        trusting.check_hostname = False
        base = f"https://127.0.0.1:{self.port}/v2/x/y"
        auth = (self.login.user, self.login.password)
        async with httpx.AsyncClient(verify=trusting, auth=auth, trust_env=False) as client:
            config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
            for blob in (layer, config):
                begun = await client.post(f"{base}/blobs/uploads/")
                place = httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": digest(blob)})
                answer = await client.put(place, content=blob)
                assert answer.status_code == 201, answer.text
            kind = "application/vnd.docker.distribution.manifest.v2+json"
            rows = {
                "schemaVersion": 2,
                "mediaType": kind,
                "config": {"digest": digest(config), "size": len(config), "mediaType": "application/json"},
                "layers": [{"digest": digest(layer), "size": len(layer), "mediaType": "application/octet-stream"}],
            }
            body = json.dumps(rows).encode()
            answer = await client.put(f"{base}/manifests/1", content=body, headers={"Content-Type": kind})
            assert answer.status_code == 201, answer.text
        return digest(body)


def digest(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


@dataclass(slots=True)
class Bench:
    registry: TlsRegistry
    digest: str
    sockets: Sockets

    @contextlib.asynccontextmanager
    async def registries(
        self, *, places: tuple[str, ...] = (PLACE,), addresses: tuple[str, ...] = (PUBLIC,), login: bool = True
    ) -> AsyncIterator[Registries]:
        """`registry.example` resolves to `addresses`; what is sent to the public one arrives at the registry."""
        fetcher = Fetcher(
            places=places,
            resolve=Names(list(addresses)),
            verify=ssl.create_default_context(cafile=str(self.registry.certificate)),
            backend=self.sockets,
        )
        registries = Registries(fetcher, {PLACE: self.registry.login} if login else {}, machine="x86_64")
        try:
            yield registries
        finally:
            await registries.aclose()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    if not shutil.which("openssl"):
        pytest.skip("needs openssl to make a certificate")
    registry = TlsRegistry(tmp_path / "registry", Login("operator", secrets.token_hex(12)))
    await registry.certify()
    async with registry:
        yield Bench(registry, await registry.publish(LAYER), internet(registry.port))


async def refusal(registries: Registries) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await registries.manifest(IMAGE)
    return caught.value


async def test_a_listed_registry_is_asked_at_its_port_with_its_account(bench: Bench) -> None:
    async with bench.registries() as registries:
        manifest = await registries.manifest(IMAGE)
        assert (manifest.digest, manifest.size) == (bench.digest, len(LAYER))
        assert registries.login(IMAGE)["serveraddress"] == PLACE
    assert set(bench.sockets.connections) == {(PUBLIC, 5000)}
    async with bench.registries(login=False) as registries:
        assert (await refusal(registries)).code == "engine.image_denied"


async def test_a_registry_that_nobody_listed_is_not_connected_to(bench: Bench) -> None:
    for places in ((), ("registry.example:5001",), ("other.example:5000",)):
        async with bench.registries(places=places) as registries:
            error = await refusal(registries)
        assert error.code == "engine.registry_refused"
        assert "images.registries" in error.remedy
    assert bench.sockets.connections == []


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("10.0.0.7",), (PUBLIC, "169.254.169.254"), ("fd00::1",)])
async def test_a_listed_registry_is_held_to_the_address_rules(bench: Bench, addresses: tuple[str, ...]) -> None:
    async with bench.registries(addresses=addresses) as registries:
        assert (await refusal(registries)).code == "engine.registry_refused"
    assert bench.sockets.connections == []
