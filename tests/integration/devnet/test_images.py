"""Sample sources for real: built without a network, pushed, pulled by digest, run, asked, and called back by."""

import base64
import json
import queue
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import httpx
import platformdirs
import pytest

from ogpu_provider.devnet.images import build_sample
from ogpu_provider.devnet.registry import ImageRegistry
from ogpu_provider.devnet.samples import samples_dir
from ogpu_provider.domain.errors import DevnetError
from ogpu_provider.domain.source import Environment

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

TASK = "0x" + "7a" * 20
READY_S = 60.0


@pytest.fixture(scope="module")
def cache() -> Path:
    """Wheels are kept between runs, as users have them."""
    return platformdirs.user_cache_path("ogpu-provider")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty at first, so that the first test that wants an image really pushes it."""
    return tmp_path_factory.mktemp("registry")


@pytest.fixture
async def registry(storage: Path) -> AsyncIterator[ImageRegistry]:
    async with ImageRegistry(storage) as running:
        yield running


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


class Callbacks:
    """A listener on the engine's bridge that keeps what containers post."""

    def __init__(self, host: str) -> None:
        self.posts: queue.Queue[tuple[str, Any]] = queue.Queue()
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posts.put((self.path, json.loads(body)))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = ThreadingHTTPServer((host, 0), Handler)
        self.url = f"http://host.docker.internal:{self.server.server_port}/secret"


@pytest.fixture
def callbacks(engine: docker.DockerClient) -> Iterator[Callbacks]:
    gateway = engine.networks.get("bridge").attrs["IPAM"]["Config"][0].get("Gateway", "172.17.0.1")
    made = Callbacks(gateway)
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@contextmanager
def running(engine: docker.DockerClient, image: str, callback_url: str) -> Iterator[str]:
    """Run an image as hardened as the provider runs it; yield its base URL once it answers."""
    container = engine.containers.run(
        image,
        detach=True,
        environment={"CALLBACK_URL": callback_url},
        extra_hosts={"host.docker.internal": "host-gateway"},
        ports={"5555/tcp": ("127.0.0.1", 0)},
        read_only=True,
        tmpfs={"/tmp": "size=64m"},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        labels={"ogpu.test": "1"},
    )
    try:
        container.reload()
        published = container.ports["5555/tcp"]
        assert published
        url = f"http://127.0.0.1:{published[0]['HostPort']}"
        deadline = time.monotonic() + READY_S
        while not answers(url):
            container.reload()
            if container.status == "exited" or time.monotonic() > deadline:
                raise AssertionError(container.logs().decode())
            time.sleep(0.1)
        yield url
    finally:
        container.remove(force=True, v=True)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/openapi.json", trust_env=False, timeout=10.0).status_code == 200
    except httpx.HTTPError:
        return False


def ask(url: str, function: str, data: object) -> httpx.Response:
    return httpx.post(f"{url}/run/{function}/{TASK}", json=data, trust_env=False, timeout=60.0)


@contextmanager
def pulled(engine: docker.DockerClient, reference: str) -> Iterator[str]:
    engine.api.pull(reference)
    try:
        yield reference
    finally:
        engine.api.remove_image(reference, noprune=True)


async def test_multiply_is_built_pushed_and_run(
    registry: ImageRegistry, cache: Path, engine: docker.DockerClient, callbacks: Callbacks
) -> None:
    image = await build_sample("multiply", Environment.CPU, registry.address, cache=cache, progress=print)
    assert image.startswith(f"{registry.address}/ogpu-samples/multiply@sha256:")
    with pulled(engine, image), running(engine, image, callbacks.url) as url:
        answer = ask(url, "multiply", {"a": 6, "b": 7})
        assert (answer.status_code, answer.json()) == (202, {"task_address": TASK, "status": "accepted"})
        assert callbacks.posts.get(timeout=60) == (f"/secret/{TASK}", {"result": 42})

        ask(url, "echo", {"value": {"deep": [1, None, "ü"]}})
        assert callbacks.posts.get(timeout=60) == (f"/secret/{TASK}", {"value": {"deep": [1, None, "ü"]}})

        assert ask(url, "multiply", {"a": "six"}).status_code == 422
        assert ask(url, "divide", {"a": 1}).status_code == 404
        assert ask(url, "fail", {}).status_code == 202
        assert ask(url, "sleep", {"seconds": 1.0}).status_code == 202
        assert callbacks.posts.get(timeout=60) == (f"/secret/{TASK}", {"slept": 1.0}), "fail says nothing"


async def test_ocr_reads_its_sample_picture(
    registry: ImageRegistry, cache: Path, engine: docker.DockerClient, callbacks: Callbacks
) -> None:
    image = await build_sample("ocr", Environment.CPU, registry.address, cache=cache, progress=print)
    picture = (samples_dir() / "ocr" / "sample.png").read_bytes()
    with pulled(engine, image), running(engine, image, callbacks.url) as url:
        assert ask(url, "ocr", {"image": base64.b64encode(picture).decode()}).status_code == 202
        _, output = callbacks.posts.get(timeout=60)
        text = [line["text"].replace(" ", "") for line in output["lines"]]  # the model is careless with spaces
        assert text == ["OpenGPUNetwork", "Invoice2048", "Total17.50EUR"]
        assert all(line["confidence"] > 0.8 and len(line["box"]) == 4 for line in output["lines"])
        assert output["device"] == "CPUExecutionProvider"


async def test_the_second_time_neither_engine_nor_index_is_asked(registry: ImageRegistry, cache: Path) -> None:
    said: list[str] = []
    first = await build_sample("multiply", Environment.CPU, registry.address, cache=cache)
    again = await build_sample("multiply", Environment.AMD, registry.address, cache=cache, progress=said.append)
    assert again == first, "the same content serves every environment"
    assert said == []


async def test_what_was_pushed_outlives_the_registry(storage: Path, cache: Path) -> None:
    said: list[str] = []
    async with ImageRegistry(storage) as first:
        before = await build_sample("multiply", Environment.CPU, first.address, cache=cache)
    async with ImageRegistry(storage) as second:
        after = await build_sample("multiply", Environment.CPU, second.address, cache=cache, progress=said.append)
    assert before.split("@")[1] == after.split("@")[1]
    assert said == []


async def test_the_image_needs_no_root(registry: ImageRegistry, cache: Path, engine: docker.DockerClient) -> None:
    image = await build_sample("multiply", Environment.CPU, registry.address, cache=cache)
    with pulled(engine, image):
        config = engine.images.get(image).attrs["Config"]
    assert config["User"] == "65532:65532"
    assert "5555/tcp" in config["ExposedPorts"]
    assert config["Labels"]["ogpu.devnet"] == "1"


async def test_an_unknown_sample_and_a_silent_registry_have_their_codes(registry: ImageRegistry, cache: Path) -> None:
    with pytest.raises(DevnetError) as unknown:
        await build_sample("../multiply", Environment.CPU, registry.address, cache=cache)
    with pytest.raises(DevnetError) as silent:
        await build_sample("multiply", Environment.CPU, "127.0.0.1:1", cache=cache)
    assert (unknown.value.code, silent.value.code) == ("devnet.no_sample", "devnet.registry")
