"""Image names to registries, and sizes from what registries answer."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from ogpu_provider.domain.errors import FetchError
from ogpu_provider.onboarding.manifest import place, size
from ogpu_provider.runtime.compose.quantities import Image


class Registry:
    """Answers by the end of the URL; nothing else is there."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    async def get(
        self, url: str, *, limit_bytes: int, timeout_s: float = 30.0, headers: Mapping[str, str] | None = None
    ) -> bytes:
        self.asked.append((url, (headers or {}).get("Authorization", "")))
        for end, answer in self.answers.items():
            if url.endswith(end):
                return json.dumps(answer).encode()
        raise FetchError("answered HTTP 404", code="fetch.status")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ollama/ollama:latest", ("registry-1.docker.io", "ollama/ollama")),
        ("redis", ("registry-1.docker.io", "library/redis")),
        ("docker.io/a/b", ("registry-1.docker.io", "a/b")),
        ("ghcr.io/a/b:1", ("ghcr.io", "a/b")),
        ("localhost/a/b", ("localhost", "a/b")),
        ("127.0.0.1:5000/a", ("127.0.0.1:5000", "a")),
    ],
)
def test_where_an_image_is(name: str, expected: tuple[str, str]) -> None:
    assert place(Image.parse(name)) == expected


async def test_layers_of_this_architecture_are_added_up() -> None:
    index = {
        "manifests": [
            {"digest": "sha256:arm", "platform": {"architecture": "arm64"}},
            {"digest": "sha256:amd", "platform": {"architecture": "amd64"}},
        ]
    }
    registry = Registry(
        {
            "/manifests/latest": index,
            "/manifests/sha256%3Aamd": {"layers": [{"size": 5}, {"size": 7}]},
            ":pull": {"token": "t"},
        }
    )
    assert await size(registry, Image.parse("ollama/ollama")) == 12  # type: ignore[arg-type]
    assert registry.asked[0][0].startswith("https://auth.docker.io/")
    assert registry.asked[1][1] == "Bearer t"


@pytest.mark.parametrize("answer", [{}, [], {"layers": [{}]}, {"layers": "x"}, {"manifests": []}, None])
async def test_an_answer_that_is_none_is_not_known(answer: Any) -> None:
    assert await size(Registry({"/1": answer}), Image.parse("example.org/a:1")) is None  # type: ignore[arg-type]
