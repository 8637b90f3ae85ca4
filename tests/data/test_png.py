"""PNG: what is written is read back, what others write is read right, what is wrong is named."""

import io
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atled.data.png import MAX_PIXELS, MAX_SIDE, decode_png, read_png, write_png

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6


def chunk(kind, body=b""):
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


def header(width=1, height=1, depth=8, colour=GRAY, compression=0, filtering=0, interlace=0):
    rest = bytes([depth, colour, compression, filtering, interlace])
    return chunk(b"IHDR", width.to_bytes(4) + height.to_bytes(4) + rest)


def data(raw):
    return chunk(b"IDAT", zlib.compress(raw))


def png(*chunks):
    return SIGNATURE + b"".join(chunks) + chunk(b"IEND")


def one_row(raw, *extra, **fields):
    """Decode an image of one row from its unfiltered bytes."""
    _, _, rows = decode_png(png(header(**fields), *extra, data(b"\0" + raw)))
    return rows[0]


# -- round trip ------------------------------------------------------------------------------

images = st.integers(1, 12).flatmap(
    lambda width: st.lists(
        st.lists(st.integers(0, 255).map(lambda v: v / 255), min_size=width, max_size=width),
        min_size=1,
        max_size=12,
    )
)


@given(images)
@settings(deadline=None)
def test_what_is_written_is_read_back(rows):
    assert decode_png(write_png(None, rows)) == (len(rows[0]), len(rows), rows)


def test_a_file_holds_what_write_returns(tmp_path):
    path = tmp_path / "three.png"
    written = write_png(path, [[0.0, 0.2, 1.0]])
    assert path.read_bytes() == written
    assert read_png(path) == read_png(str(path)) == (3, 1, [[0.0, 51 / 255, 1.0]])


def test_values_are_rounded_to_the_nearest_of_255():
    assert decode_png(write_png(None, [[0.0019, 0.002, 0.5, 0.9981]])) == (
        4,
        1,
        [[0.0, 1 / 255, 128 / 255, 1.0]],
    )


# -- each kind of image ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "raw", "expected"),
    [
        (1, [0b10100000], [1, 0, 1]),
        (2, [0b00011011], [0, 1 / 3, 2 / 3]),
        (4, [0x0F, 0x70], [0, 1, 7 / 15]),
        (8, [0, 51, 255], [0, 0.2, 1]),
        (16, [0, 0, 0x33, 0x33, 255, 255], [0, 0.2, 1]),
    ],
)
def test_gray_of_every_depth(depth, raw, expected):
    assert one_row(bytes(raw), width=3, depth=depth) == expected


@pytest.mark.parametrize(("depth", "unit"), [(8, b"\xff"), (16, b"\xff\xff")])
def test_colour_becomes_luminance(depth, unit):
    zero = bytes(len(unit))
    red, green, blue = unit + zero * 2, zero + unit + zero, zero * 2 + unit
    row = one_row(red + green + blue + unit * 3, width=4, depth=depth, colour=RGB)
    assert row == [0.299, 0.587, 0.114, 1.0]


def test_transparency_lies_on_white():
    assert one_row(bytes([0, 0, 0, 255, 0, 51]), width=3, colour=GRAY_ALPHA) == [1.0, 0.0, 0.8]
    assert one_row(bytes([0, 0, 0, 51]), colour=RGBA) == [0.8]
    assert one_row(bytes([0, 0, 0x33, 0x33]), depth=16, colour=GRAY_ALPHA) == [0.8]


def test_one_colour_may_be_declared_transparent():
    assert one_row(bytes([3, 0]), chunk(b"tRNS", b"\0\x03"), width=2) == [1.0, 0.0]
    assert one_row(b"\x12\x34", chunk(b"tRNS", b"\x12\x34"), depth=16) == [1.0]
    row = one_row(bytes(6), chunk(b"tRNS", bytes(6)), width=2, colour=RGB)
    assert row == [1.0, 1.0]


def test_a_palette_with_transparency():
    extra = chunk(b"PLTE", bytes([0, 0, 0, 0, 0, 0, 255, 0, 0])), chunk(b"tRNS", bytes([51]))
    row = one_row(bytes([0b00011000]), *extra, width=3, depth=2, colour=PALETTE)
    assert row == [0.8, 0.0, 0.299]


def test_unknown_ancillary_chunks_and_several_idat_are_read_over():
    packed = zlib.compress(b"\0\xff")
    parts = chunk(b"IDAT", packed[:3]), chunk(b"IDAT", packed[3:])
    assert decode_png(png(header(), chunk(b"tEXt", b"a\0b"), *parts)) == (1, 1, [[1.0]])


MODES = ["1", "L", "LA", "RGB", "RGBA", "P", "I;16"]


@pytest.mark.parametrize("mode", MODES)
def test_images_of_another_writer(mode):
    """Smooth images, so that the other writer chooses among all the filters."""
    module = pytest.importorskip("PIL.Image")
    width, height = 37, 23
    channels = {"LA": 2, "RGB": 3, "RGBA": 4, "I;16": 2}.get(mode, 1)
    values = bytes(
        (x * x // 9 + 5 * y + 40 * c) % 256
        for y in range(height)
        for x in range(width)
        for c in range(channels)
    )
    if mode in ("1", "P"):
        image = module.frombytes("L", (width, height), values).convert(mode)
    else:
        image = module.frombytes(mode, (width, height), values)
    file = io.BytesIO()
    image.save(file, "png")
    found = decode_png(file.getvalue())
    assert found[:2] == (width, height)
    assert found[2] == [
        pytest.approx([as_gray(image, mode, x, y) for x in range(width)], abs=1e-12)
        for y in range(height)
    ]


def as_gray(image, mode, x, y):
    """Return the value of a pixel by the definition, from Pillow's own reading of it."""
    if mode == "I;16":
        return image.getpixel((x, y)) / 65535
    if mode in ("1", "L"):
        return image.getpixel((x, y)) / 255
    r, g, b, a = image.convert("RGBA").getpixel((x, y))
    return (0.299 * r + 0.587 * g + 0.114 * b) / 255 * (a / 255) + 1 - a / 255


@pytest.mark.parametrize("kind", range(5))
def test_every_filter_is_undone(kind):
    """The filters of the specification, applied here in their own words, to two rows of RGB."""
    rows = [[10, 200, 30, 250, 60, 70], [90, 20, 255, 3, 140, 9]]
    raw, above = b"", [0] * 6
    for row in rows:
        left, corner = [0, 0, 0, *row], [0, 0, 0, *above]
        raw += bytes([kind])
        for i, x in enumerate(row):
            a, b, c = left[i], above[i], corner[i]
            nearest = min((a, b, c), key=lambda v, p=a + b - c: abs(p - v))
            raw += bytes([(x - [0, a, b, (a + b) // 2, nearest][kind]) % 256])
        above = row
    _, _, found = decode_png(png(header(2, 2, colour=RGB), data(raw)))
    plain = b"".join(b"\0" + bytes(row) for row in rows)
    assert found == decode_png(png(header(2, 2, colour=RGB), data(plain)))[2]


# -- what is wrong is named ------------------------------------------------------------------

GOOD = png(header(), data(b"\0\x07"))
TRUNCATED = chunk(b"IDAT", zlib.compress(b"\0\x07")[:-2])


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "not a PNG file; it starts with b''"),
        (b"GIF89a", "not a PNG file; it starts with b'GIF89a'"),
        (GOOD[:20], "cut off at byte 20"),
        (GOOD[:-12], "cut off"),
        (GOOD[:16] + b"\1" + GOOD[17:], "the IHDR chunk at byte 8 is damaged"),
        (SIGNATURE + chunk(b"1234"), "byte 8 starts no chunk: its name would be b'1234'"),
        (png(data(b"\0\0")), "starts with one IHDR chunk; found IDAT first"),
        (png(header(), header()), "starts with one IHDR chunk; found IHDR after IHDR"),
        (png(), "starts with one IHDR chunk; found IEND first"),
        (png(header()), "no image data"),
        (png(chunk(b"IHDR", b"abc")), "has 13 bytes; this one has 3"),
        (png(header(width=0), data(b"")), "0x1 pixels"),
        (png(header(height=MAX_SIDE + 1), data(b"")), "1x10001 pixels; atled reads 1 to 10,000"),
        (png(header(4000, 4000), data(b"")), f"4000x4000 pixels; .* {MAX_PIXELS:,} in all"),
        (png(header(colour=5), data(b"")), "no colour type 5 with 8 bits"),
        (png(header(depth=1, colour=RGB), data(b"")), "no colour type 2 with 1 bits"),
        (png(header(compression=1), data(b"")), "a method that PNG does not have"),
        (png(header(interlace=1), data(b"")), "interlaced PNG is not supported; save"),
        (png(header(), chunk(b"IDAT", b"junk")), "cannot be decompressed"),
        (png(header(), TRUNCATED), "the image data is cut off"),
        (png(header(), data(b"\0")), "less than the 2 bytes"),
        (png(header(), data(bytes(9))), "more than the 2 bytes"),
        (png(header(), data(b"\5\0")), "filter 5; PNG has 0 to 4"),
        (png(header(), chunk(b"ABCD"), data(b"\0\0")), "unknown critical chunk ABCD"),
        (png(header(), data(b"\0\0"), chunk(b"tEXt"), data(b"")), "in one run; these are apart"),
        (png(header(), data(b"\0\0"), chunk(b"PLTE")), "one PLTE chunk may come before IDAT"),
        (png(header(colour=PALETTE), data(b"\0\0")), "the palette is wrong: 0 bytes"),
        (
            png(header(colour=PALETTE), chunk(b"PLTE", bytes(3)), data(b"\0\1")),
            "a pixel asks for colour 1 of a palette of 1",
        ),
        (
            png(header(colour=PALETTE), chunk(b"PLTE", bytes(3)), chunk(b"tRNS", b"12"), data(b"")),
            "3 bytes of colours .* and 2 of transparency",
        ),
        (png(header(), chunk(b"tRNS", b"1"), data(b"\0\0")), "tRNS chunk of 1 bytes does not fit"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(contents, message):
    with pytest.raises(ValueError, match=message) as caught:
        decode_png(contents, "a.png")
    assert str(caught.value).startswith("a.png: ")
    assert "\n" not in str(caught.value)


def test_the_error_names_the_file(tmp_path):
    path = tmp_path / "text.png"
    path.write_text("hello")
    with pytest.raises(ValueError, match=r"text.png: not a PNG file; it starts with b'hello'"):
        read_png(path)
    with pytest.raises(FileNotFoundError):
        read_png(tmp_path / "absent.png")


def test_a_bomb_is_not_unpacked():
    """A megabyte of zeros in a kilobyte, in an image that says it has one pixel."""
    with pytest.raises(ValueError, match="more than the 2 bytes that IHDR promises"):
        decode_png(png(header(), data(bytes(2**20))))


def test_a_file_over_the_limit_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    path.write_bytes(GOOD + bytes(2**20))
    assert read_png(path) == (1, 1, [[7 / 255]])
    monkeypatch.setattr("atled.data.png._MAX_FILE", 2**20)
    with pytest.raises(ValueError, match="the file is larger than 1 MiB; make it smaller"):
        read_png(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "1 to 10000 pixels wide and high; found 0x0"),
        ([[]], "found 0x1"),
        ([[0.0, 1.0], [0.5]], "row 0 has 2 values and row 1 has 1"),
        ([[0.0, 1.5]], "from 0.0 to 1.0; found 1.5 in row 0, column 1"),
        ([[0.0], [float("nan")]], "found nan in row 1, column 0"),
    ],
)
def test_only_gray_values_are_written(rows, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_png(tmp_path / "none.png", rows)
    assert not (tmp_path / "none.png").exists()


# -- no bytes bring out anything but an image or a ValueError ---------------------------------


def is_image_or_value_error(contents):
    try:
        width, height, rows = decode_png(contents)
    except ValueError as error:
        width, height, rows, message = 0, 0, [], str(error)
    else:
        message = ""
    assert "\n" not in message
    assert len(rows) == height
    assert all(len(row) == width for row in rows)
    assert all(0.0 <= value <= 1.0 for row in rows for value in row)


@given(st.binary(max_size=200), st.booleans())
@settings(deadline=None)
def test_any_bytes(contents, signed):
    is_image_or_value_error(SIGNATURE + contents if signed else contents)


@given(st.data())
@settings(deadline=None)
def test_a_good_file_with_changed_bytes(draw):
    contents = bytearray(write_png(None, [[0.0, 0.5, 1.0], [0.2, 0.4, 0.6]]))
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(contents) - 1))
        contents[at] = draw.draw(st.integers(0, 255))
    is_image_or_value_error(bytes(contents[: draw.draw(st.integers(0, len(contents)))]))


side = st.one_of(st.integers(0, 4), st.integers(0, 2**32 - 1))
headers = st.builds(
    header,
    side,
    side,
    st.sampled_from([1, 2, 3, 4, 8, 16]),
    st.sampled_from([GRAY, 1, RGB, PALETTE, GRAY_ALPHA, RGBA]),
    interlace=st.integers(0, 2),
)
small = st.binary(max_size=30)
chunks = st.one_of(
    st.builds(chunk, st.sampled_from([b"PLTE", b"tRNS", b"IEND", b"gAMA", b"IDAT"]), small),
    st.builds(data, small),
)


@pytest.mark.slow
@given(headers, st.lists(chunks, max_size=4))
@settings(deadline=None, max_examples=300)
def test_any_chunks_with_right_checksums(start, rest):
    is_image_or_value_error(png(start, *rest))


@given(
    st.integers(1, 4),
    st.sampled_from([(1, GRAY), (4, GRAY), (8, RGB), (2, PALETTE), (8, PALETTE), (16, RGBA)]),
    st.integers(0, 9).map(lambda n: bytes(range(3 * n))),
    st.binary(min_size=160, max_size=160),
)
@settings(deadline=None, max_examples=300)
def test_any_pixels_of_the_right_number(width, kind, palette, noise):
    depth, colour = kind
    channels = {RGB: 3, RGBA: 4}.get(colour, 1)
    stride = (width * channels * depth + 7) // 8
    raw = b"".join(bytes([y]) + noise[y * 32 : y * 32 + stride] for y in range(5))
    image = header(width, 5, depth, colour), chunk(b"PLTE", palette), data(raw)
    is_image_or_value_error(png(*image))
