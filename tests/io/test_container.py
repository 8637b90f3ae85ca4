"""The safetensors format: what is written is read, and what is wrong is refused in one line."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atled.dtypes import float32, float64, int8
from atled.io.container import Entry, pack, unpack

ENTRIES = {
    "w": Entry(float32, (2, 3), bytes(24)),
    "b": Entry(int8, (5,), b"12345"),
    "empty": Entry(float64, (0, 4), b""),
    "number": Entry(float64, (), bytes(8)),
}


def a_file(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def one(**changes):
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}


def test_what_is_packed_is_unpacked():
    entries, metadata = unpack(pack(ENTRIES, {"made by": "atled"}))
    assert metadata == {"made by": "atled"}
    assert {name: (e.dtype, e.shape, bytes(e.data)) for name, e in entries.items()} == {
        name: (e.dtype, e.shape, e.data) for name, e in ENTRIES.items()
    }


def test_equal_arrays_give_equal_files_that_are_aligned():
    data = pack(ENTRIES)
    assert data == pack(dict(reversed(ENTRIES.items())))
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    header = json.loads(data[8 : 8 + length])
    assert list(header) == ["empty", "number", "w", "b"]
    assert all(header[n]["data_offsets"][0] % e.dtype.itemsize == 0 for n, e in ENTRIES.items())


def test_a_name_or_metadata_that_the_format_cannot_hold():
    with pytest.raises(ValueError, match="a string other than __metadata__"):
        pack({"__metadata__": ENTRIES["w"]})
    with pytest.raises(ValueError, match="metadata are strings by strings; found 'a': int"):
        pack({}, {"a": 1})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has 0 bytes, fewer than the 8"),
        (b"\0" * 7, "has 7 bytes"),
        (b"\xff" * 8, "more than 100,000,000"),
        (a_file({})[:9], "claims 2 bytes, and the file has 1"),
        (a_file(b""), "starts with b'' instead"),
        (a_file(b"[1]"), r"starts with b'\[' instead"),
        (a_file(b"{\xff}"), "header is broken .*utf-8"),
        (a_file(b"{'a': 1}"), "header is broken"),
        (a_file(b'{"a": 1, "a": 1}'), "a name occurs twice"),
        (a_file(b'{"a":' * 100_000), "nested too deeply"),
        (a_file({"__metadata__": {"a": 1}}), "not a dictionary of strings"),
        (a_file({"__metadata__": []}), "not a dictionary of strings"),
        (a_file({"a": 3}), "array 'a' needs dtype, shape and data_offsets"),
        (a_file(one(extra=1), bytes(8)), "needs dtype, shape and"),
        (a_file(one(dtype="F8_E4M3"), bytes(8)), "has dtype 'F8_E4M3'; known are BOOL, U8"),
        (a_file(one(dtype=[]), bytes(8)), r"has dtype \[\]"),
        (a_file(one(shape=[-2]), bytes(8)), r"has shape \[-2\]"),
        (a_file(one(shape=[2.0]), bytes(8)), r"has shape \[2.0\]"),
        (a_file(one(shape=[True, 2]), bytes(8)), r"has shape \[True, 2\]"),
        (a_file(one(shape="2"), bytes(8)), "has shape '2'"),
        (a_file(one(shape=[3]), bytes(8)), r"shape \[3\] and dtype F32 does not have 8 bytes"),
        (a_file(one(shape=[2**62, 2**62]), bytes(8)), "does not have 8 bytes"),
        (a_file(one(shape=[2**62] * 50_000), bytes(8)), "does not have 8 bytes"),
        (a_file(one(data_offsets=[8, 0]), bytes(8)), r"data_offsets \[8, 0\]"),
        (a_file(one(data_offsets=[0]), bytes(8)), r"data_offsets \[0\]"),
        (a_file(one(data_offsets=None), bytes(8)), "data_offsets None"),
        (a_file(one(), bytes(7)), "ends at byte 8 of 7; is it cut off"),
        (a_file(one(), bytes(9)), "1 bytes at its end belong to no array"),
        (a_file(one(data_offsets=[1, 9]), bytes(9)), "leaves a gap before it, at byte 1"),
        (a_file(one() | {"b": one()["a"]}, bytes(8)), "overlaps the one before, at byte 0"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(data, message):
    with pytest.raises(ValueError, match=message) as caught:
        unpack(data, "w.safetensors")
    text = str(caught.value)
    assert text.startswith("w.safetensors is not a safetensors file: ")
    assert "\n" not in text
    assert len(text) < 400


def only_value_errors(data):
    try:
        entries, _ = unpack(data)
    except ValueError as error:
        message = str(error)
    else:
        message = ""
        assert sum(len(e.data) for e in entries.values()) <= len(data)
    assert "\n" not in message


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    only_value_errors(data)


@given(st.binary(max_size=200))
def test_any_header_is_read_or_refused(text):
    only_value_errors(a_file(b"{" + text, bytes(8)))


def test_a_file_with_flipped_bytes_is_read_or_refused():
    whole = pack(ENTRIES, {"made by": "atled"})
    rng = random.Random(0)
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        only_value_errors(bytes(data[: rng.choice([len(data), rng.randrange(len(data))])]))
