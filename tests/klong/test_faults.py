"""Faults of the forerunner, each seen there, are none here."""

import pytest

from atled.klong import KlongError, KlongInterpreter
from atled.klong.printer import written


@pytest.fixture
def k(backend: str) -> KlongInterpreter:
    return KlongInterpreter(backend=backend)


@pytest.mark.parametrize("program", ["a::1}}", "aggs::{[a];a:::{}}}}", "1)", "[1 2]]", "{x}}"])
def test_brackets_that_close_nothing_are_refused(k: KlongInterpreter, program: str) -> None:
    with pytest.raises(KlongError, match=r"closes nothing|was expected") as caught:
        k(program)
    assert "line 1, column" in str(caught.value)


def test_an_index_in_parentheses_parses(k: KlongInterpreter) -> None:
    k("q::[3 7 8]")
    assert k("q[0],q[-1]").tolist() == [3, 8] == k("(q[0],q[-1])").tolist()
    assert k("i::1;q[i]") == 7
    assert k("d:::{[-1 5]};d[-1]") == 5  # a key, not the last element
    assert k("m::[[1 2] [3 4]];m[1][0]") == 3
    with pytest.raises(KlongError, match="index 3 is out of range"):
        k("q[3]")


def test_a_string_of_a_semicolon_survives_as_an_argument(k: KlongInterpreter) -> None:
    assert k('f::{x,y};f("hello";";")') == "hello;"
    assert k('f(";";")")') == ";)"


def test_dictionaries_join(k: KlongInterpreter) -> None:
    k("b:::{[1 2]};c:::{[3 4] [1 5]}")
    assert k("b,c") == {1: 5, 3: 4}
    assert k("A::[];A::A,:{}") == [{}]
    assert k("#[1 2 3],:{[1 2]}") == 4
    assert k(":{[1 2]},[1 2 3]") == [{1: 2}, 1, 2, 3]
    assert k("1,:{[1 2]}") == [1, {1: 2}]


def test_nested_dictionaries_are_values(k: KlongInterpreter) -> None:
    assert k(":{[1 :{[2 3]}]}") == {1: {2: 3}}
    assert k('c:::{["GET" :{["/" 2]}]};(c?"GET")?"/"') == 2
    assert written(k("[:{[1 [:{[2 3]}]]}]")) == "[:{[1 [:{[2 3]}]]}]"


def test_take_keeps_the_shape_of_elements(k: KlongInterpreter) -> None:
    assert k("(4)#[[0 0]]").tolist() == [[0, 0]] * 4
    assert k("3#[[1 2] [3 4]]").tolist() == [[1, 2], [3, 4], [1, 2]]


def test_literals_in_functions_are_fresh_each_time(k: KlongInterpreter) -> None:
    k("f::{[d];d:::{[1 2]};d,3,x;d}")
    assert k("#f(1)") == 2
    assert k("f(7)") == {1: 2, 3: 7}
    assert k("f(8)") == {1: 2, 3: 8}
