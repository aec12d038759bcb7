"""What of the engine's images is ours, and what a source's tags stand for here: one small file, written whole.

An image is put down before it is pulled, so that one which a crash left behind is known to be ours. What is not put
down here was pulled by somebody else, and is never removed.
"""

import asyncio
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ogpu_provider.domain.approval import ImageOffer
from ogpu_provider.domain.documents import read_json
from ogpu_provider.domain.units import Address


@dataclass(frozen=True, slots=True)
class Pulled:
    """`size` in compressed bytes; `used_at` unix seconds of the last start of a project with it."""

    reference: str
    size: int
    used_at: float


@dataclass(frozen=True, slots=True)
class TagPin:
    """`digest`: what a tag stands for here. `offered`: what its registry has under it by now, if that is another;
    `since` when that was noticed, in unix seconds.
    """

    digest: str
    offered: str = ""
    since: float = 0.0


class Shelf:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self._pulled: dict[str, Pulled] = {}
        self._tags: dict[str, TagPin] = {}
        self._read = False

    async def pulled(self) -> list[Pulled]:
        """Least recently used first."""
        async with self._lock:
            await self._load()
            return sorted(self._pulled.values(), key=lambda each: each.used_at)

    async def put(self, image: Pulled) -> None:
        async with self._lock:
            await self._load()
            self._pulled[image.reference] = image
            await self._save()

    async def used(self, reference: str, at: float) -> None:
        """Nothing for an image that is not ours."""
        async with self._lock:
            await self._load()
            if found := self._pulled.get(reference):
                self._pulled[reference] = replace(found, used_at=at)
                await self._save()

    async def size(self, reference: str) -> int:
        """0 for an image that is not ours: it is not removed by us either."""
        async with self._lock:
            await self._load()
            found = self._pulled.get(reference)
            return found.size if found else 0

    async def take(self, reference: str) -> None:
        async with self._lock:
            await self._load()
            if self._pulled.pop(reference, None):
                await self._save()

    async def tag(self, source: Address, image: str) -> TagPin | None:
        async with self._lock:
            await self._load()
            return self._tags.get(f"{source} {image}")

    async def set_tag(self, source: Address, image: str, pin: TagPin) -> None:
        async with self._lock:
            await self._load()
            self._tags[f"{source} {image}"] = pin
            await self._save()

    async def tags(self, source: Address) -> dict[str, TagPin]:
        """By the image's name."""
        async with self._lock:
            await self._load()
            return self._of(source)

    async def keep_tags(self, source: Address, images: Collection[str]) -> None:
        """Forget what a source's other tags stood for."""
        async with self._lock:
            await self._load()
            gone = [image for image in self._of(source) if image not in images]
            for image in gone:
                del self._tags[f"{source} {image}"]
            if gone:
                await self._save()

    async def accept(self, source: Address, digest: str = "") -> tuple[str, ...]:
        """The operator takes what is offered for a source's tags, with `digest` that one only; the images' names."""
        async with self._lock:
            await self._load()
            taken = {
                image: TagPin(pin.offered)
                for image, pin in self._of(source).items()
                if pin.offered and digest in ("", pin.offered)
            }
            self._tags.update({f"{source} {image}": pin for image, pin in taken.items()})
            if taken:
                await self._save()
            return tuple(sorted(taken))

    async def load(self) -> None:
        """For `offers`, which does not wait."""
        async with self._lock:
            await self._load()

    def offers(self) -> dict[Address, tuple[ImageOffer, ...]]:
        """Of all sources, as far as the file was read."""
        found: dict[Address, list[ImageOffer]] = {}
        for key, pin in sorted(self._tags.items()):
            source, _, image = key.partition(" ")
            if pin.offered:
                offer = ImageOffer(image, pin.digest, pin.offered, pin.since)
                found.setdefault(Address(source), []).append(offer)
        return {source: tuple(offers) for source, offers in found.items()}

    def _of(self, source: Address) -> dict[str, TagPin]:
        prefix = f"{source} "
        return {key.removeprefix(prefix): pin for key, pin in self._tags.items() if key.startswith(prefix)}

    async def _load(self) -> None:
        """A file that cannot be read is no file: then nothing is ours, and nothing is removed."""
        if not self._read:
            document = await asyncio.to_thread(_document, self._path)
            try:
                self._pulled = {row["reference"]: Pulled(**row) for row in document.get("pulled", ())}
                self._tags = {key: TagPin(**row) for key, row in document.get("tags", {}).items()}
            except (AttributeError, KeyError, TypeError):
                self._pulled, self._tags = {}, {}
            self._read = True

    async def _save(self) -> None:
        document = {
            "pulled": [asdict(each) for each in self._pulled.values()],
            "tags": {key: asdict(pin) for key, pin in self._tags.items()},
        }
        await asyncio.to_thread(_write, self._path, document)


def _document(path: Path) -> Mapping[str, Any]:
    try:
        found = read_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(".part")
    with draft.open("w") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
