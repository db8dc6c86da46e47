"""The container of artifacts: what is built comes back, what is damaged is refused, never worse."""

from __future__ import annotations

import hmac
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pgannex_server.tabular import artifact
from pgannex_wire import WireError

KEY = b"k" * 32
META = {"format": "skops", "labels": ["y"], "width": 3}
BLOBS = {"model": b"some bytes", "onnx": b"", "näme": bytes(range(256))}
SIGNED = artifact.sign(artifact.build(META, BLOBS), KEY)

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def resigned(body: bytes) -> bytes:
    return artifact.sign(body, KEY)


@given(st.dictionaries(st.text(), _json, max_size=5), st.dictionaries(st.text(), st.binary(), max_size=5))
def test_what_is_built_comes_back(meta: dict[str, object], blobs: dict[str, bytes]) -> None:
    body = artifact.build(meta, blobs)
    assert body == artifact.build(dict(reversed(meta.items())), dict(reversed(blobs.items())))
    data = artifact.sign(body, KEY)
    artifact.verify(data, KEY)
    found_meta, found = artifact.read(data)
    assert found_meta == meta
    assert {name: bytes(blob) for name, blob in found.items()} == blobs


def test_layout() -> None:
    body = artifact.build({"b": 1, "a": 2}, {"m": b"xy"})
    described = json.dumps({"a": 2, "b": 1}, separators=(",", ":")).encode()
    assert body == (
        b"PGANNEX1" + struct.pack("!Q", len(described)) + described + struct.pack("!I", 1)
        + struct.pack("!H", 1) + b"m" + struct.pack("!Q", 2) + b"xy"
    )  # fmt: skip
    assert artifact.sign(body, KEY) == body + hmac.digest(KEY, body, "sha256")


@pytest.mark.parametrize("length", range(len(SIGNED)))
def test_every_truncation_is_refused(length: int) -> None:
    cut = SIGNED[:length]
    with pytest.raises(WireError) as failed:
        artifact.verify(cut, KEY)
    assert failed.value.code == "artifact_invalid"
    assert failed.value.hint
    # Cut and signed again: the lengths themselves must tell.
    with pytest.raises(WireError) as failed:
        artifact.read(resigned(cut[: -artifact.SIGNATURE] if length > artifact.SIGNATURE else cut))
    assert failed.value.code == "artifact_invalid"


@given(st.integers(0, len(SIGNED) * 8 - 1))
def test_every_flipped_bit_is_refused(bit: int) -> None:
    flipped = bytearray(SIGNED)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WireError) as failed:
        artifact.verify(bytes(flipped), KEY)
    assert failed.value.code == "artifact_invalid"


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tail: bytes) -> None:
    for body in (tail, artifact.MAGIC + tail):
        try:
            meta, blobs = artifact.read(resigned(body))
        except WireError as err:
            assert err.code == "artifact_invalid"
        else:
            assert artifact.build(meta, blobs)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1))
def test_lengths_that_lie_are_refused(size: int, count: int, name: int) -> None:
    described = b"{}"
    for body in (
        artifact.MAGIC + struct.pack("!Q", size) + described + struct.pack("!I", 0),
        artifact.MAGIC + struct.pack("!Q", 2) + described + struct.pack("!I", count),
        artifact.MAGIC + struct.pack("!Q", 2) + described + struct.pack("!IH", 1, name) + b"m",
    ):
        try:
            meta, blobs = artifact.read(resigned(body))
        except WireError as err:
            assert err.code == "artifact_invalid"
        else:
            assert (meta, blobs) == ({}, {})


def test_another_key_is_told_what_to_do() -> None:
    with pytest.raises(WireError) as failed:
        artifact.verify(SIGNED, b"other")
    assert failed.value.code == "artifact_invalid"
    assert "pgannex key import" in failed.value.hint


def test_a_blob_named_twice_or_bytes_after_the_end() -> None:
    one = struct.pack("!H", 1) + b"m" + struct.pack("!Q", 1) + b"x"
    head = artifact.MAGIC + struct.pack("!Q", 2) + b"{}"
    for body in (head + struct.pack("!I", 2) + one + one, head + struct.pack("!I", 1) + one + b"!"):
        with pytest.raises(WireError, match="no artifact"):
            artifact.read(resigned(body))


def test_nan_is_no_metadata() -> None:
    with pytest.raises(ValueError):
        artifact.build({"x": float("nan")}, {})


def test_the_name_of_an_artifact() -> None:
    assert len(artifact.hash_of(SIGNED)) == 64
    assert artifact.hash_of(SIGNED) == artifact.hash_of(memoryview(SIGNED))
