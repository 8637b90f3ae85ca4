"""Write a placed graph as SVG: no other program, no script, good on a white page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from atled.inspect.layout import Placed

__all__ = ["Box", "draw", "measure", "text_width"]

FONT = "'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif"
TITLE, DETAIL = 13, 11  # font sizes
MARGIN = 16.0

# Fill and outline by what a box stands for.
COLOURS = {
    "leaf": ("#d9f2e1", "#3a9a5f"),
    "elementwise": ("#e3eefc", "#5b8fd6"),
    "reduction": ("#efe6fb", "#9069c6"),
    "movement": ("#f1f3f5", "#98a2ad"),
    "linear": ("#f1f3f5", "#98a2ad"),
    "bilinear": ("#fdebd3", "#d9923b"),
    "opaque": ("#fdebd3", "#d9923b"),
    "custom": ("#fbe3ea", "#cc6584"),
    "output": ("#1f3a5f", "#1f3a5f"),
    "reference": ("#ffffff", "#b8c0c8"),
}

# Widths of characters in a bold DejaVu Sans, the widest of the fonts above, in ems.
_WIDTHS = {
    character: width
    for characters, width in (
        ("'ijl", 0.34), (" ,./IJ\\|¹²", 0.38), (":;-f", 0.43), ("!()[]trI", 0.48),
        ("_`*\"", 0.52), ("?zcs", 0.6), ("LvxyakFTeEoSB", 0.69), ("$0123456789", 0.7),
        ("bdghnpqu{}CPZYAKRVX∇", 0.76), ("#+<=>HN^~GDUOQ&×→", 0.86), ("wMm%@W…", 1.05),
    )
    for character in characters
}  # fmt: skip


@dataclass
class Box:
    """One box of the drawing, before it has a place.

    Args:
        title, details: its first line, and those below.
        kind: a key of `COLOURS`.
        tooltip: what a browser shows when the pointer rests on it.
        parents: numbers of the boxes from which edges lead to this one.
        tag: the small number in its corner, for references to it.
    """

    title: str
    details: list[str]
    kind: str
    tooltip: str = ""
    parents: list[int] = field(default_factory=list)
    tag: str = ""


def text_width(text: str, size: float) -> float:
    """Return about how wide `text` is in pixels, rather too wide than too narrow."""
    return size * sum([_WIDTHS.get(c, 0.75 if ord(c) < 0x2E80 else 1.1) for c in text])


def measure(box: Box) -> tuple[float, float]:
    """Return the width and height that a box needs for its text."""
    lines = [text_width(box.title, TITLE)] + [text_width(d, DETAIL) * 0.92 for d in box.details]
    if box.kind == "reference":
        return max(lines) + 18, 22.0
    return max(*lines, 34.0) + 22, 14.0 + 17 + 14.5 * len(box.details)


def draw(boxes: Sequence[Box], placed: Placed) -> str:
    """Return the SVG document of boxes at their places, with the edges between them."""
    width, height = placed.width + 2 * MARGIN, placed.height + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}" text-anchor="middle">',
        f'<g transform="translate({MARGIN:g} {MARGIN:g})">',
        '<g fill="none" stroke="#8a96a3" stroke-width="1.3">',
    ]
    heads = []
    for route, ends in placed.routes:
        parts.append(f'<path d="{_path(route, ends)}"/>')
        if ends:
            x, y = route[1]
            heads.append(f"M{x:.1f} {y:.1f}l-3.6 -7.5h7.2z")
    parts += ["</g>", f'<path d="{"".join(heads)}" fill="#8a96a3"/>']
    parts += [_box(b, x, y) for b, x, y in zip(boxes, placed.x, placed.y, strict=True)]
    return "\n".join([*parts, "</g>", "</svg>"])


def _path(route: list[tuple[float, float]], ends: bool) -> str:
    (x, y), (to_x, to_y) = route[:2]
    if ends:
        to_y -= 6  # room for the arrow's head
    bend = (to_y - y) / 2
    text = f"M{x:.1f} {y:.1f}"
    if abs(x - to_x) < 0.5:
        text += f"L{to_x:.1f} {to_y:.1f}"
    else:
        text += f"C{x:.1f} {y + bend:.1f} {to_x:.1f} {to_y - bend:.1f} {to_x:.1f} {to_y:.1f}"
    return text + "".join(f"L{px:.1f} {py:.1f}" for px, py in route[2:])


def _box(box: Box, x: float, y: float) -> str:
    fill, line = COLOURS.get(box.kind, COLOURS["custom"])
    ink, faint = ("#ffffff", "#ccd8e6") if box.kind == "output" else ("#1d2733", "#56626f")
    width, height = measure(box)
    left, top = x - width / 2, y - height / 2
    small = box.kind == "reference"
    dashes = ' stroke-dasharray="4 3"' if small else ""
    radius = height / 2 if small or box.kind == "leaf" else 6
    parts = [
        "<g>",
        f"<title>{clean(box.tooltip)}</title>" if box.tooltip else "",
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="{min(radius, 14):g}" fill="{fill}" stroke="{line}" stroke-width="1.2"{dashes}/>',
    ]
    if small:
        parts.append(_text(x, y + 4, DETAIL, faint, box.title))
    else:
        parts.append(_text(x, top + 19, TITLE, ink, box.title, ' font-weight="bold"'))
        parts += [_text(x, top + 35 + 14.5 * i, DETAIL, faint, d)
                  for i, d in enumerate(box.details)]  # fmt: skip
    if box.tag:
        parts.append(_text(left + 2, top - 4, 9, "#8a96a3", box.tag, ' text-anchor="start"'))
    return "".join([*parts, "</g>"])


def _text(x: float, y: float, size: float, colour: str, text: str, more: str = "") -> str:
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}"{more}>'
            f"{clean(text)}</text>")  # fmt: skip


def clean(text: str) -> str:
    """Return `text` escaped for XML, without the control characters that XML forbids."""
    kept = [c for c in text if c in "\n\t" or (ord(c) >= 32 and not _bad(ord(c)))]
    return escape("".join(kept), quote=False)


def _bad(code: int) -> bool:
    return 0xD800 <= code <= 0xDFFF or code in (0xFFFE, 0xFFFF) or 0x7F <= code <= 0x9F
