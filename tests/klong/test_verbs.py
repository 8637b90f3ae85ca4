"""Every verb and system function does what its own help says, on every backend."""

import re

import pytest

from atled.klong import KlongInterpreter
from atled.klong.adverbs import TABLE
from atled.klong.help import apropos, help_on
from atled.klong.printer import written
from atled.klong.system import SYSTEM
from atled.klong.verbs import VERBS

EXAMPLE = re.compile(r"^ *(\S.*?)  -->  (.*)$", re.MULTILINE)
HELP = {f"{v.glyph}{v.arity}": v.help for v in VERBS.values()}
HELP |= {name: entry.help for name, entry in SYSTEM.items()}
EXAMPLES = [(name, *pair) for name, text in HELP.items() for pair in EXAMPLE.findall(text)]


@pytest.mark.filterwarnings("ignore:.* runs eagerly")  # .compile, on other backends than numpy
@pytest.mark.parametrize(("name", "expression", "result"), EXAMPLES, ids=str)
def test_examples_of_the_help(backend: str, name: str, expression: str, result: str) -> None:
    k = KlongInterpreter(backend=backend)
    assert written(k(expression)) == result


def test_every_verb_of_the_quick_reference_is_there() -> None:
    dyads = ":= :- :_ :: % _ = ? :$ $ @ :@ :% , < ~ | & - > + ^ :^ ! :+ :# # * :> ∂ ∇".split()
    monads = "@ :# ! & * _ $ > < = , - ~ % | ^ # + ? :_".split()
    assert {g for g, n in VERBS if n == 2} == set(dyads) - {"::"}
    assert {g for g, n in VERBS if n == 1} == set(monads) | {"∂", "∇"}
    adverbs = "' :' / :~ \\ \\~".split()
    assert {g for g, n in TABLE if n == 1} == set(adverbs)
    both = r"' :\ :/ / :~ :* \ \~ \*".split()
    assert {g for g, n in TABLE if n == 2} == set(both)
    functions = """.ac .cc .comment .d .df .E .fc .fl .ic .l .mi .module .oc .pc .p .r .rl .rn .rs
        .sys .tc .w .x""".split()
    assert set(functions) <= set(SYSTEM)


def test_every_entry_has_help() -> None:
    for name, text in HELP.items():
        assert text.strip(), name
    assert "the sum of a and b" in help_on("+")
    assert help_on("Plus") == help_on("plus")
    assert "Reverse" in apropos("reverse order")
    assert help_on("no such thing").startswith("there is no help on 'no such thing'")
    assert "Match" in help_on("all")
