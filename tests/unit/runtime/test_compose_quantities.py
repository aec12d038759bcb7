import pytest

from ogpu_provider.runtime.compose.quantities import Image, duration, milliseconds, size


@pytest.mark.parametrize(
    ("text", "value"),
    [("64m", 64 << 20), ("1.5g", 3 << 29), ("2GB", 2 << 30), ("10", 10), ("1kb", 1024), ("4GiB", 4 << 30)],
)
def test_sizes(text: str, value: int) -> None:
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "m", "-1m", "1x", "1e9", "nan", "1 m m", "1_0"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        size(text)


@pytest.mark.parametrize(("text", "value"), [("1m30s", 90.0), ("500ms", 0.5), ("2h", 7200.0), ("1.5s", 1.5)])
def test_durations(text: str, value: float) -> None:
    assert duration(text) == value
    assert duration(milliseconds(value)) == value


@pytest.mark.parametrize("text", ["", "5", "s", "1s 2s", "-1s", "1d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(text)


def test_images() -> None:
    digest = "sha256:" + "ab" * 32
    assert str(Image.parse("ollama/ollama")) == "ollama/ollama:latest"
    assert str(Image.parse("ghcr.io/a/b:1.2")) == "ghcr.io/a/b:1.2"
    both = Image.parse(f"127.0.0.1:5000/a/b:latest@{digest}")
    assert (both.repository, both.tag, str(both)) == ("127.0.0.1:5000/a/b", "latest", f"127.0.0.1:5000/a/b@{digest}")


@pytest.mark.parametrize(
    "text", ["", "x/UPPER", "../x", "a b", "-x", "x@sha256:12", "http://x/y", "x:tag:tag", "a" * 600, "@IMAGE@"]
)
def test_what_is_no_image(text: str) -> None:
    with pytest.raises(ValueError, match="image"):
        Image.parse(text)
