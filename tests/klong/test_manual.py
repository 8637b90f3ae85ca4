"""Every example of the reference manual gives the manual's result, on every backend.

`extract.py` took the examples from the manual. The few whose result differs are in DIFFERENT,
each with the reason and with what comes out here, so that a change is noticed either way.
"""

import re
from pathlib import Path

import pytest

from atled.klong import KlongInterpreter
from atled.klong.literals import data
from atled.klong.match import match
from atled.klong.printer import written

TEXT = (Path(__file__).parent / "manual_examples.txt").read_text(encoding="utf-8")
EXAMPLES = [
    (int(line), expression, " ".join(result.split()) if "\n" in result else result)
    for line, expression, result in re.findall(
        r"^@ (\d+)\n(.*?)\n--> (.*?)\n(?=\n@|\Z)", TEXT, re.DOTALL | re.MULTILINE
    )
]

DIFFERENT = {
    825: ("1.4166666666666665", "the manual rounds to six digits here"),
    826: ("1.4142156747561165", "the manual rounds to six digits here"),
    827: ("1.4142135623775818", "the manual rounds to six digits here"),
    904: ("KlongError", "a misprint: the adverb Scan-While is \\~, as the text around it says"),
    1127: ("0c@", "a misprint: the code of A is 65"),
    1128: ("0c\n", "the manual describes the result in a comment"),
    1196: ("[0]", "a misprint: !1 counts from 0 to a-1"),
    1376: (
        "[6 5 11 1 0 2 3 10 4 8 9 7]",
        "the order of equal elements is not defined; here it is that of the list",
    ),
    1706: ("[[0 1 0] [1 0 1] [0 1 0]]", "a misprint: the last bracket is missing"),
    1774: ("[[5 6] [1 2] [4 5]]", "a misprint: the text says that the rows are rotated"),
}


def run(backend: str, expression: str) -> tuple[str, object]:
    k = KlongInterpreter(backend=backend)
    value = k(expression)
    return written(value), value


@pytest.mark.parametrize(("line", "expression", "result"), EXAMPLES, ids=str)
def test_it_gives_the_manuals_result(backend: str, line: int, expression: str, result: str) -> None:
    if line in DIFFERENT:
        here, _ = DIFFERENT[line]
        if here == "KlongError":
            with pytest.raises(Exception, match="takes 1 argument"):
                run(backend, expression)
            return
        assert run(backend, expression)[0] == here
        assert here != result
        return
    text, value = run(backend, expression)
    if text != result:  # reals are printed with other numbers of digits: the values match
        assert isinstance(value, float)
        assert match(value, data(result))


def test_all_were_extracted() -> None:
    assert len(EXAMPLES) == TEXT.count("\n@ ") == 255
    assert set(DIFFERENT) <= {line for line, _, _ in EXAMPLES}
