"""Read and write small PNG images with the standard library.

For the digits job: a picture to classify comes in as rows of gray values, and pictures go into
a report. All that a still image may be is read (1 to 16 bits, gray, colour, palette,
transparency); interlacing is not. What always holds: a file that is not a whole and correct PNG
is a `ValueError` of one line, and no file, however it lies, makes the reader ask for more memory
than the limits below allow.

Source: W3C, Portable Network Graphics (PNG) Specification, third edition,
https://www.w3.org/TR/png-3/.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike

__all__ = ["MAX_PIXELS", "MAX_SIDE", "Image", "decode_png", "read_png", "write_png"]

MAX_SIDE = 10_000  # pixels along one edge
MAX_PIXELS = 10_000_000  # in the whole image: rows of 320 MB at worst
_MAX_FILE = 128 * 2**20  # bytes

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_CHANNELS = {_GRAY: 1, _RGB: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _RGBA: 4}
_DEPTHS = {
    _GRAY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GRAY_ALPHA: (8, 16),
    _RGBA: (8, 16),
}

Image = tuple[int, int, list[list[float]]]


@dataclass(frozen=True)
class _Header:
    """What IHDR says, and what follows from it."""

    width: int
    height: int
    depth: int  # bits a sample
    colour: int  # one of the five colour types

    @property
    def stride(self) -> int:
        """Bytes of one row, without the byte that names its filter."""
        return (self.width * _CHANNELS[self.colour] * self.depth + 7) // 8

    @property
    def step(self) -> int:
        """Bytes from a sample to the one on its left; at least one."""
        return max(1, _CHANNELS[self.colour] * self.depth // 8)


def read_png(path: str | PathLike[str]) -> Image:
    """Read a PNG file as gray values.

    Colour becomes luminance, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); what is transparent is
    laid on white paper. Values are taken as stored, without gamma.

    Args:
        path: a still image without interlacing, with at most 10,000 pixels along an edge and
            10 million in all.

    Returns:
        Image: width, height, and `height` rows of `width` floats, from 0.0 (black) to 1.0 (white).

    Raises:
        ValueError: not a whole and correct PNG, interlaced, or larger than the limits.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(_MAX_FILE + 1)
    return decode_png(data, str(path))


def decode_png(data: bytes, name: str = "image") -> Image:
    """Read a PNG from bytes, as `read_png` does from a file.

    Args:
        data: the file's contents.
        name: what errors call it.

    Returns:
        Image: width, height, and rows of floats, from 0.0 (black) to 1.0 (white).

    Raises:
        ValueError: not a whole and correct PNG, interlaced, or larger than the limits.

    Example:
        >>> decode_png(write_png(None, [[0.0, 1.0]]))
        (2, 1, [[0.0, 1.0]])
    """
    try:
        header, chunks = _sort_chunks(data)
        samples = (_samples(header, row) for row in _raw_rows(header, chunks[b"IDAT"]))
        return header.width, header.height, _gray_rows(header, chunks, samples)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def write_png(path: str | PathLike[str] | None, rows: Sequence[Sequence[float]]) -> bytes:
    """Write gray values as an 8-bit PNG.

    Args:
        path: the file to write, or None to write none.
        rows: rows of equal length, of values from 0.0 (black) to 1.0 (white).

    Returns:
        bytes: the contents of the file.

    Raises:
        ValueError: no pixels, rows of different lengths, or a value outside [0, 1]. No file is
            written then.
        OSError: the file cannot be written.

    Example:
        >>> write_png(None, [[0.0, 0.5, 1.0]])[:4]
        b'\\x89PNG'
    """
    height, width = len(rows), len(rows[0]) if len(rows) else 0
    if not 0 < width <= MAX_SIDE or not 0 < height <= MAX_SIDE:
        raise ValueError(
            f"write_png: an image is 1 to {MAX_SIDE} pixels wide and high; found {width}x{height}"
        )
    raw = b"".join(b"\0" + _bytes_of_row(row, y, width) for y, row in enumerate(rows))
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, _GRAY, 0, 0, 0])
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b"")]
    data = _SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks)
    if path is not None:
        with open(path, "wb") as file:
            file.write(data)
    return data


def _bytes_of_row(row: Sequence[float], y: int, width: int) -> bytes:
    if len(row) != width:
        raise ValueError(f"write_png: row 0 has {width} values and row {y} has {len(row)}")
    for x, value in enumerate(row):
        if not 0.0 <= value <= 1.0:
            raise ValueError(
                f"write_png: values lie from 0.0 to 1.0; found {value!r} in row {y}, column {x}"
            )
    return bytes(int(value * 255.0 + 0.5) for value in row)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


# -- from the file to bytes of pixels --------------------------------------------------------


def _sort_chunks(data: bytes) -> tuple[_Header, dict[bytes, bytes]]:
    """Return the header and the chunks that matter, with IDAT joined into one."""
    header: _Header | None = None
    chunks: dict[bytes, bytes] = {}
    image: list[bytes] = []
    previous = b""
    for kind, body in _chunks(data):
        if (kind == b"IHDR") != (header is None):
            raise ValueError("a PNG starts with one IHDR chunk; " + _found(kind, previous))
        if kind == b"IHDR":
            header = _parse_header(body)
        elif kind == b"IDAT":
            if image and previous != b"IDAT":
                raise ValueError("the IDAT chunks of a PNG are in one run; these are apart")
            image.append(body)
        elif kind in (b"PLTE", b"tRNS"):
            if kind in chunks or image:
                raise ValueError(f"one {kind.decode()} chunk may come before IDAT, and only one")
            chunks[kind] = body
        elif not kind[0] & 0x20 and kind != b"IEND":  # an upper-case letter: critical
            raise ValueError(f"unknown critical chunk {kind.decode()}; save it as a plain PNG")
        previous = kind
    if header is None or not image:
        raise ValueError("the PNG has no image data (no IDAT chunk)")
    chunks[b"IDAT"] = b"".join(image)
    return header, chunks


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, body) up to IEND, checking lengths and checksums."""
    if not data.startswith(_SIGNATURE):
        raise ValueError(f"not a PNG file; it starts with {data[:8]!r}")
    if len(data) > _MAX_FILE:
        raise ValueError(f"the file is larger than {_MAX_FILE // 2**20} MiB; make it smaller")
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            raise ValueError(f"the PNG is cut off at byte {len(data)}, inside a chunk")
        if not (kind.isalpha() and kind.isascii()):
            raise ValueError(f"byte {at} starts no chunk: its name would be {kind!r}")
        body, stored = data[at + 8 : end - 4], int.from_bytes(data[end - 4 : end])
        if zlib.crc32(kind + body) != stored:
            raise ValueError(f"the {kind.decode()} chunk at byte {at} is damaged (wrong checksum)")
        yield kind, body
        at = end


def _found(kind: bytes, previous: bytes) -> str:
    return f"found {kind.decode()}" + (f" after {previous.decode()}" if previous else " first")


def _parse_header(body: bytes) -> _Header:
    if len(body) != 13:
        raise ValueError(f"the IHDR chunk of a PNG has 13 bytes; this one has {len(body)}")
    width, height = int.from_bytes(body[:4]), int.from_bytes(body[4:8])
    depth, colour, compression, filtering, interlace = body[8:]
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE) or width * height > MAX_PIXELS:
        raise ValueError(
            f"the image says it is {width}x{height} pixels; atled reads 1 to {MAX_SIDE:,} along "
            f"an edge and {MAX_PIXELS:,} in all"
        )
    if depth not in _DEPTHS.get(colour, ()):
        raise ValueError(f"a PNG has no colour type {colour} with {depth} bits a sample")
    if compression or filtering or interlace > 1:
        raise ValueError("the IHDR chunk names a method that PNG does not have")
    if interlace:
        raise ValueError("interlaced PNG is not supported; save the image without interlacing")
    return _Header(width, height, depth, colour)


def _raw_rows(header: _Header, compressed: bytes) -> Iterator[bytes]:
    """Yield the unfiltered bytes of each row."""
    length = header.stride + 1
    expected = length * header.height
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(compressed, expected + 1)
    except zlib.error as error:
        raise ValueError(f"the image data cannot be decompressed ({error})") from None
    if len(data) != expected:
        much = "more" if len(data) > expected else "less"
        raise ValueError(f"the image data is {much} than the {expected} bytes that IHDR promises")
    if not stream.eof:
        raise ValueError("the image data is cut off")
    row = bytes(header.stride)
    for y in range(header.height):
        line = data[y * length : (y + 1) * length]
        row = _unfilter(line[0], line[1:], row, header.step)
        yield row


def _unfilter(kind: int, line: bytes, above: bytes, step: int) -> bytes:
    """Undo one row's filter (section 9 of the specification)."""
    if kind == 0:
        return line
    if kind == 2:
        return bytes([(x + b) & 255 for x, b in zip(line, above, strict=True)])
    if kind > 4:
        raise ValueError(f"a row of the image has filter {kind}; PNG has 0 to 4")
    row = bytearray(step) + line  # `step` zeros stand on the left of the first pixel
    above = bytes(step) + above
    for i in range(step, len(row)):
        left, up = row[i - step], above[i]
        if kind == 1:
            guess = left
        elif kind == 3:
            guess = (left + up) >> 1
        else:
            guess = _paeth(left, up, above[i - step])
        row[i] = (row[i] + guess) & 255
    return bytes(row[step:])


def _paeth(a: int, b: int, c: int) -> int:
    """Return which of left, up and upper left is nearest to a + b - c; the first on ties."""
    to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    if to_a <= to_b and to_a <= to_c:
        return a
    return b if to_b <= to_c else c


# -- from bytes to gray ----------------------------------------------------------------------


def _samples(header: _Header, row: bytes) -> Sequence[int]:
    """Split a row into its samples, channel after channel, pixel after pixel."""
    if header.depth == 8:
        return row
    if header.depth == 16:
        return [high << 8 | low for high, low in zip(row[::2], row[1::2], strict=True)]
    mask = (1 << header.depth) - 1
    shifts = range(8 - header.depth, -1, -header.depth)
    return [byte >> shift & mask for byte in row for shift in shifts][: header.width]


def _gray_rows(
    header: _Header, chunks: dict[bytes, bytes], rows: Iterator[Sequence[int]]
) -> list[list[float]]:
    """Turn rows of samples into rows of luminance, laid on white."""
    top = (1 << header.depth) - 1
    if header.colour == _PALETTE:
        table = _palette(chunks)
        return [_look_up(table, row) for row in rows]
    clear = _clear_colour(header, chunks.get(b"tRNS"))
    if header.colour == _GRAY:
        if header.depth == 16:
            return [[1.0 if v == clear else v / top for v in row] for row in rows]
        table = [1.0 if v == clear else v / top for v in range(top + 1)]
        return [_look_up(table, row) for row in rows]
    if header.colour == _GRAY_ALPHA:
        return [
            [_on_white(v / top, a / top) for v, a in zip(row[::2], row[1::2], strict=True)]
            for row in rows
        ]
    if header.colour == _RGBA:
        return [
            [
                _on_white(_luminance(r, g, b, top), a / top)
                for r, g, b, a in zip(row[::4], row[1::4], row[2::4], row[3::4], strict=True)
            ]
            for row in rows
        ]
    return [
        [
            1.0 if pixel == clear else _luminance(*pixel, top)
            for pixel in zip(row[::3], row[1::3], row[2::3], strict=True)
        ]
        for row in rows
    ]


def _look_up(table: list[float], row: Sequence[int]) -> list[float]:
    try:
        return [table[v] for v in row]
    except IndexError:
        raise ValueError(
            f"a pixel asks for colour {max(row)} of a palette of {len(table)}"
        ) from None


def _palette(chunks: dict[bytes, bytes]) -> list[float]:
    """Return the gray value of each entry of PLTE, with the transparency of tRNS."""
    colours, alphas = chunks.get(b"PLTE", b""), chunks.get(b"tRNS", b"")
    count = len(colours) // 3
    if len(colours) % 3 or not 0 < count <= 256 or len(alphas) > count:
        raise ValueError(
            f"the palette is wrong: {len(colours)} bytes of colours (3 each, 256 at most) "
            f"and {len(alphas)} of transparency"
        )
    alphas += b"\xff" * (count - len(alphas))
    triples = zip(colours[::3], colours[1::3], colours[2::3], alphas, strict=True)
    return [_on_white(_luminance(r, g, b, 255), a / 255) for r, g, b, a in triples]


def _clear_colour(header: _Header, body: bytes | None) -> int | tuple[int, ...] | None:
    """Return the one colour that tRNS declares transparent: a number, or three."""
    if body is None:
        return None
    channels = _CHANNELS[header.colour]
    if header.colour not in (_GRAY, _RGB) or len(body) != 2 * channels:
        raise ValueError(f"the tRNS chunk of {len(body)} bytes does not fit this kind of image")
    colour = tuple(int.from_bytes(body[i : i + 2]) for i in range(0, len(body), 2))
    return colour if header.colour == _RGB else colour[0]


def _luminance(r: int, g: int, b: int, top: int) -> float:
    return (299 * r + 587 * g + 114 * b) / (1000 * top)


def _on_white(value: float, alpha: float) -> float:
    return value * alpha + (1.0 - alpha)
