"""Content identifiers. We make version 0 (Kubo's default, what the network's gateway serves) and read 0 and 1."""

import base64
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import aleph_cid

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_DAG_PB = 0x70
_SHA2_256 = b"\x12\x20"
_LONGEST = 128


def cid_v0(data: bytes) -> str:
    """The CIDv0 ("Qm...") that Kubo's `add` gives these bytes: 256 KiB chunks, dag-pb leaves."""
    return str(aleph_cid.compute_cid(data))


@dataclass(frozen=True, slots=True)
class Cid:
    """A decoded CID. Two texts name the same node exactly if these are equal, whatever base they are written in."""

    codec: int
    multihash: bytes

    @classmethod
    def parse(cls, text: str) -> "Cid":
        """Raises ValueError for anything but a CID (v0; v1 in base 16, 32, 36 or 58)."""
        if len(text) > _LONGEST:
            raise ValueError("too long for a CID")
        if len(text) == 46 and text.startswith("Qm"):
            raw = _from_base(text, _BASE58)
            if len(raw) != 34 or raw[:2] != _SHA2_256:
                raise ValueError("not a CIDv0")
            return cls(_DAG_PB, raw)
        raw = _multibase(text)
        version, rest = _varint(raw)
        if version != 1:
            raise ValueError(f"CID version {version} is unknown")
        codec, multihash = _varint(rest)
        _, rest = _varint(multihash)
        length, digest = _varint(rest)
        if length != len(digest) or not digest:
            raise ValueError("the digest of the CID is cut")
        return cls(codec, multihash)


def same_cid(left: str, right: str) -> bool:
    """Whether two texts are the same CID, across versions and bases. False if either is no CID."""
    try:
        return Cid.parse(left) == Cid.parse(right)
    except ValueError:
        return False


def names_content(text: str, data: bytes) -> bool:
    """Whether this CID names these bytes added as one file: as CIDv0, or as CIDv1 with raw leaves."""
    hasher = aleph_cid.CidHasher.for_ipfs_v1_raw_leaves()
    hasher.update(data)
    return same_cid(text, cid_v0(data)) or same_cid(text, hasher.finalize())


def cid_of_link(url: str) -> str | None:
    """The CID in a link, as written there, None if there is none.

    Knows `ipfs://CID`, `https://gateway/ipfs/CID[/path]` and `https://CID.ipfs.gateway/`.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None
    found = re.match(r"/ipfs/([^/]+)", unquote(parts.path))
    labels = host.split(".")
    if parts.scheme == "ipfs":
        candidate = parts.netloc  # not .hostname: that lowers the case of a CIDv0
    elif found:
        candidate = found[1]
    elif len(labels) > 2 and labels[1] == "ipfs":
        candidate = labels[0]
    else:
        return None
    try:
        Cid.parse(candidate)
    except ValueError:
        return None
    return candidate


def _multibase(text: str) -> bytes:
    prefix, body = text[:1], text[1:]
    if prefix in ("b", "B"):
        padded = body.upper() + "=" * (-len(body) % 8)
        return base64.b32decode(padded)
    if prefix in ("f", "F"):
        return bytes.fromhex(body)
    if prefix == "z":
        return _from_base(body, _BASE58)
    if prefix in ("k", "K"):
        return _from_base(body.lower(), _BASE36)
    raise ValueError("not a CID")


def _from_base(text: str, alphabet: str) -> bytes:
    number = 0
    for letter in text:
        digit = alphabet.find(letter)
        if digit < 0:
            raise ValueError(f"{letter!r} is not in the base of this CID")
        number = number * len(alphabet) + digit
    zeros = len(text) - len(text.lstrip(alphabet[0]))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _varint(raw: bytes) -> tuple[int, bytes]:
    """An unsigned varint of at most 9 bytes, shortest form only, and what follows it."""
    value = 0
    for index, byte in enumerate(raw[:9]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if index and not byte:
                raise ValueError("padded varint")
            return value, raw[index + 1 :]
    raise ValueError("the CID is cut")
