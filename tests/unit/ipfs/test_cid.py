"""CIDs: equal to Kubo's, compared by what they decode to."""

import base64

import aleph_cid
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.ipfs.cid import Cid, cid_of_link, cid_v0, names_content, same_cid

HELLO = "QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN"
"""`echo hello | ipfs add`, the vector that Kubo's own documentation uses."""
DIRECTORY_V1 = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
"""The example of the CID specification; as v0 it is QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR."""


def raw_v1(data: bytes) -> str:
    hasher = aleph_cid.CidHasher.for_ipfs_v1_raw_leaves()
    hasher.update(data)
    return str(hasher.finalize())


def test_equals_what_kubo_prints() -> None:
    assert cid_v0(b"hello\n") == HELLO


def test_same_node_in_other_versions_and_bases() -> None:
    v0 = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR"
    raw = base64.b32decode(DIRECTORY_V1[1:].upper() + "=" * (-len(DIRECTORY_V1[1:]) % 8))
    assert same_cid(DIRECTORY_V1, v0)
    assert same_cid("f" + raw.hex(), v0)
    assert same_cid(DIRECTORY_V1, DIRECTORY_V1.upper())
    assert not same_cid(HELLO, v0)


def test_the_codec_is_part_of_the_identity() -> None:
    parsed = Cid.parse(raw_v1(b"hello\n"))
    assert parsed.codec == 0x55
    assert not same_cid(raw_v1(b"hello\n"), HELLO)


@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_names_content_knows_both_flavours_and_no_other_content(data: bytes, other: bytes) -> None:
    for cid in (cid_v0(data), raw_v1(data)):
        assert names_content(cid, data)
        assert names_content(cid, other) is (data == other)


@given(st.text(max_size=80) | st.from_regex(r"[bzkfQ]m?[a-zA-Z0-9]{0,60}", fullmatch=True))
def test_parsing_anything_gives_a_cid_or_value_error(text: str) -> None:
    try:
        parsed = Cid.parse(text)
    except ValueError:
        assert not same_cid(text, text)
    else:
        assert parsed.multihash


@pytest.mark.parametrize(
    "text", ["", "Qm", HELLO[:-1], HELLO[:-1] + "0", HELLO[:-1] + "l", "b", "z1", "u" + "A" * 40, "b" + "a" * 500]
)
def test_refuses_what_is_no_cid(text: str) -> None:
    with pytest.raises(ValueError):
        Cid.parse(text)


@pytest.mark.parametrize(
    ("url", "cid"),
    [
        (f"https://cipfs.ogpuscan.io/ipfs/{HELLO}", HELLO),
        (f"http://127.0.0.1:8080/ipfs/{HELLO}/", HELLO),
        (f"https://gateway.example/ipfs/{HELLO}/docker-compose.yml?download=1#x", HELLO),
        (f"ipfs://{HELLO}", HELLO),
        (f"ipfs://{HELLO}/file", HELLO),
        (f"https://{DIRECTORY_V1}.ipfs.example.org/index.html", DIRECTORY_V1),
        ("https://gateway.example/ipfs/not-a-cid", None),
        (f"https://gateway.example/other/{HELLO}", None),
        (f"https://evil.example/?x=/ipfs/{HELLO}", None),
        ("https://[broken/ipfs/x", None),
        ("", None),
    ],
)
def test_cid_of_link(url: str, cid: str | None) -> None:
    assert cid_of_link(url) == cid
