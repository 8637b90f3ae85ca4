"""The help: each entry says what is true, and is found."""

import re
from pathlib import Path

import pytest

from atled.klong import KlongInterpreter
from atled.klong.adverbs import TABLE
from atled.klong.channels import Channel
from atled.klong.help import apropos, card, entries, help_on
from atled.klong.printer import written
from atled.klong.system import SYSTEM
from atled.klong.topics import EXAMPLES, TOPICS

EXAMPLE = re.compile(r"^ *(\S.*?)  -->  (.*)$", re.MULTILINE)
BESIDE = [(t.glyph, *pair) for t in TOPICS for pair in EXAMPLE.findall(t.text)]
BESIDE += [(key, *EXAMPLE.findall(line)[0]) for key, some in EXAMPLES.items() for line in some]
# These end the program, or need lines behind them.
WITHOUT_EXAMPLES = {".x", ".comment", "it", ".cin", ".edit", ".fastpow"}


@pytest.mark.parametrize(("key", "expression", "result"), BESIDE, ids=str)
def test_examples(
    backend: str,
    key: str,
    expression: str,
    result: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    k = KlongInterpreter(backend=backend)
    value = k(expression)
    assert written(value) == result
    for channel in (value, k.channels.source):
        if isinstance(channel, Channel):
            channel.close()


def test_every_entry_has_an_example() -> None:
    assert {e.glyph for e in entries() if not EXAMPLE.search(e.text)} == WITHOUT_EXAMPLES


def test_every_key_of_an_example_is_an_entry() -> None:
    assert set(EXAMPLES) <= {f"{a.glyph}{a.arity}" for a in TABLE.values()} | set(SYSTEM)


def test_topics_are_found_by_glyph_name_and_word() -> None:
    assert help_on("+").startswith("+ [Plus]\n  a+b: the sum of a and b.")
    assert "+ [Transpose]" in help_on("+")
    assert help_on("define") == help_on("::")
    assert help_on(".jacobian").startswith(".jacobian [Jacobian]")
    assert "|          Reverse" in apropos("reverse order")
    assert help_on("no such thing").startswith("there is no help on 'no such thing'")
    assert "Match" in help_on("all")


def test_a_verb_with_adverbs_is_taken_apart() -> None:
    titles = re.findall(r"^\S+ \[(\S+)\]$", help_on(",/:~"), re.MULTILINE)
    assert titles == ["List", "Join", "Over", "Over-Neutral", "Converge", "While"]


def test_functions_of_the_program_show_their_text() -> None:
    k = KlongInterpreter(backend="python")
    k('f::{x+y};a::[1 2];.pyf("math";"isqrt")')
    assert help_on("f", k.context) == "f::{x+y}  takes 2 arguments"
    assert help_on("a", k.context) == "a is an array of shape [2]"
    assert help_on("isqrt", k.context).startswith("isqrt of Python  takes 1 argument\nReturn the")


def test_the_card_has_everything() -> None:
    shown = card()
    assert max(map(len, shown.splitlines())) <= 80
    for entry in entries():
        assert re.search(rf"{re.escape(entry.glyph)} +{re.escape(entry.title)}", shown)
    assert help_on("") == shown
