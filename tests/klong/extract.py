"""Extract the examples of Klong's reference manual: ``python extract.py klong-ref.txt``.

Writes `manual_examples.txt` beside this file. An example is what stands on both sides of an
arrow; an operand or a result that spans lines is put together by its brackets. What stands
beside an arrow without being an example is in NOTATION, with the reason; what an example takes
from the text around it is in BEFORE.

The manual is *Klong: a simple array language*, by Nils M Holm, version 2020-04-03.
"""

import re
import sys
from pathlib import Path

# Lines with an arrow that are no examples: they speak about expressions in general.
NOTATION = {
    range(376, 408): "a rule about all values of a kind",
    range(616, 619): "letters stand for values",
    range(624, 625): "letters stand for values",
    range(634, 635): "letters stand for values",
    range(716, 717): "letters stand for values",
    range(734, 735): "letters stand for values",
    range(750, 757): "letters stand for values",
    range(769, 770): "letters stand for values",
    range(781, 783): "letters stand for values",
    range(797, 799): "letters stand for values",
}
# What the text around an example defines.
MODULE = ".module(:foo);a::1;g::{a};f::{g()};s::{a::x};.module(0)"
BEFORE = {
    range(561, 563): "f::{x,y}",
    range(565, 566): "g::{x,y,z}",
    range(2244, 2245): MODULE,
    range(2245, 2246): MODULE + ";a::2",
    range(2252, 2254): MODULE + ";a::0;s(2)",
}


def examples(text: str) -> list[tuple[int, str, str]]:
    """Return (line, expression, result) of every arrow that is an example."""
    lines = [line.expandtabs(8) for line in text.splitlines()]
    found = []
    for number, line in enumerate(lines, 1):
        if "-->" not in line or any(number in span for span in NOTATION):
            continue
        for left, right in arrows(line):
            expression = whole_left(left, lines, number)
            result = whole_right(right, lines, number)
            found.append((number, before(number) + expression, result))
    return found


def arrows(line: str) -> list[tuple[str, str]]:
    """Return the two sides of each arrow of a line; prose may hold two."""
    prose = re.findall(r"(,\S+) --> (\[+\d\]+)", line) if ", and " in line else []
    if prose:
        return prose
    left, right = line.split("-->", 1)
    if "e.g.:" in left:
        left = left.split("e.g.:")[1]
    return [(re.sub(r"^\s*Examples?:", "", left), right)]


def whole_left(left: str, lines: list[str], number: int) -> str:
    """Put the lines above in front until every bracket is open."""
    at = number - 1
    while balance(left) < 0:
        at -= 1
        left = re.sub(r"^\s*Examples?:", "", lines[at]) + "\n" + left
    return left.strip()


def whole_right(right: str, lines: list[str], number: int) -> str:
    """Put the lines below behind until every bracket is closed."""
    right = re.sub(r'\s+:".*|\. the actual .*', "", right)
    at = number
    while balance(right) > 0 and at < len(lines) and lines[at].strip():
        right += "\n" + lines[at]
        at += 1
    right = right.strip()
    return right.removesuffix(".") if right.endswith(('".', "].")) else right


def balance(text: str) -> int:
    """Return how many brackets are open at the end, strings and characters left out."""
    bare = re.sub(r'"[^"]*"|0c.', "", text)
    return sum(map(bare.count, "([{")) - sum(map(bare.count, ")]}"))


def before(number: int) -> str:
    """Return what an example needs to be defined."""
    for span, code in BEFORE.items():
        if number in span:
            return code + ";"
    return ""


def main() -> None:
    manual = Path(sys.argv[1]).read_text(encoding="utf-8")
    blocks = [
        "Examples of the Klong reference manual (version 2020-04-03) by Nils M Holm,",
        "extracted by extract.py. Each block: the manual's line, an expression, its result.",
        "",
    ]
    for number, expression, result in examples(manual):
        blocks += [f"@ {number}", expression, f"--> {result}", ""]
    Path(__file__).with_name("manual_examples.txt").write_text("\n".join(blocks), encoding="utf-8")


if __name__ == "__main__":
    main()
