"""Exact derivatives: through verbs, adverbs, lambdas and conditionals, at any order."""

import math

import pytest

from atled.klong import KlongError, KlongInterpreter, compiled
from atled.klong.printer import written


@pytest.fixture(
    params=[
        pytest.param(False, id="interpreted"),
        pytest.param(True, id="compiled at once", marks=pytest.mark.slow),
    ]
)
def k(
    backend: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> KlongInterpreter:
    for name, value in (("FEW", 1), ("PAYS", -1.0), ("TRIALS", 0)):
        monkeypatch.setattr(compiled, name, value)
    return KlongInterpreter(backend=backend, compile=request.param)


@pytest.mark.parametrize(
    ("program", "result"),
    [
        ("f::{x^2};f:>3", "6.0"),
        ("{x^3}:>2", "12.0"),
        ("p::{((3*x^4)-(2*x^2))+x};p:>1", "9.0"),
        ("{+/x^2}:>[1.0 2.0 3.0]", "[2.0 4.0 6.0]"),
        ("w::2.0;b::3.0;loss::{(w^2)+(b^2)};loss:>[w b]", "[4.0 6.0]"),
        ("w::2.0;b::3.0;loss::{(w^2)+(b^2)};loss:>w", "4.0"),
        ("[1 2]∂{x^2}", "[[2.0 0.0] [0.0 4.0]]"),
        (
            "w::[1.0 2.0];b::[3.0 4.0];f::{w^2};[w b]∂f",
            "[[[2.0 0.0] [0.0 4.0]] [[0.0 0.0] [0.0 0.0]]]",
        ),
        ("{+/+/x*x}:>[[1 2] [3 4]]", "[[2.0 4.0] [6.0 8.0]]"),
        ("{|/x}:>[1.0 5.0 2.0]", "[0.0 1.0 0.0]"),
        ("{&/x}:>[1.0 5.0 2.0]", "[1.0 0.0 0.0]"),
        ("{*/x}:>[2.0 3.0 4.0]", "[12.0 8.0 6.0]"),
        ("{-/x}:>[2.0 3.0 4.0]", "[1.0 -1.0 -1.0]"),
        ("{%/x}:>[8.0 2.0]", "[0.5 -2.0]"),
        ("{+/+\\x}:>[1.0 2.0 3.0]", "[3.0 2.0 1.0]"),
        ("{+/*\\x}:>[2.0 3.0 4.0]", "[16.0 10.0 6.0]"),
        ("{+/|\\x}:>[2.0 1.0 4.0]", "[2.0 0.0 1.0]"),
        ("{+/{x*x}'x}:>[1.0 2.0 3.0]", "[2.0 4.0 6.0]"),
        ("{x{x+y*y}/[1 2]}:>1.0", "1.0"),
        ("{{x*y}/x}:>[2.0 3.0 4.0]", "[12.0 8.0 6.0]"),
        ("{3{x*x}:*x}:>2.0", "1024.0"),
        ("{+/3{x*x}\\*x}:>1.0", "15.0"),
        ("{{x<100}{x*x}:~x}:>3.0", "17496.0"),
        ("{:[x>0;x^2;-x]}:>3", "6.0"),
        ("{:[x>0;x^2;-x]}:>-3", "-1.0"),
        ("{+/x,x^2}:>3.0", "7.0"),
        ("{+/(2#x)*1_x}:>[1.0 2.0 3.0]", "[2.0 4.0 2.0]"),
        ("{+/(|x)*[1 10 100]}:>[1.0 2.0 3.0]", "[100.0 10.0 1.0]"),
        ("{+/x@[0 0 2]}:>[1.0 2.0 3.0]", "[2.0 0.0 1.0]"),
        ("{(x:=5.0,1)@0}:>[1.0 2.0 3.0]", "[1.0 0.0 0.0]"),
        ("{+/(x:-5.0,1)*x}:>[1.0 2.0 3.0]", "[2.0 5.0 6.0]"),
        ("{+/[1.0 2.0 3.0]:=x,0}:>5.0", "1.0"),
        ("{+/[1.0 2.0 3.0]:=(x*x),[0 2 0]}:>5.0", "20.0"),
        ("{+/,/[[1.0 2.0] [3.0 4.0]]:=(,x),[0 0]}:>[5.0 6.0]", "[1.0 1.0]"),
        ("{+/,/[[1.0 2.0] [3.0 4.0]]:-x,[0 1]}:>5.0", "1.0"),
        ("{+/,/[2 2]:^x}:>[1.0 2.0]", "[2.0 2.0]"),
        ("{+/x*1:+x}:>[1.0 2.0 3.0]", "[5.0 4.0 3.0]"),
        ("{(+x):@[1 0]}:>[[1 2] [3 4]]", "[[0.0 1.0] [0.0 0.0]]"),
        ("{#x}:>-3.0", "-1.0"),
        ("{_x}:>2.5", "0.0"),
        ("{x>2}:>2.5", "0.0"),
        ("{1.0%x}:>2.0", "-0.25"),
        ("{%x}:>2.0", "-0.25"),
        ("{{x^3}:>x}:>2", "12.0"),
        ("{{{x^4}:>x}:>x}:>2", "48.0"),
        ("{+/{+/x^3}:>x}:>[1.0 2.0]", "[6.0 12.0]"),
        ("o::0;{o::x;{x*o}:>x}:>3.0", "1.0"),
        (".hessian({+/x^3};[1 2])", "[[6.0 0.0] [0.0 12.0]]"),
        (".hessian({(x@0)*x@1};[1 2])", "[[0.0 1.0] [1.0 0.0]]"),
        (".jacobian({x^2};3)", "6.0"),
        (".jvp({x^2};[1.0 2.0];[1.0 10.0])", "[2.0 40.0]"),
        (".vjp({+/x^2};[1.0 2.0];2.0)", "[4.0 8.0]"),
        (".gradcheck({+/x^3};[1.0 2.0])", "1"),
        (".gradcheck({x^3};[1.0 2.0])", "1"),
        ("f::{x^2};f:>:\\[1 2 3]", "[2.0 4.0 6.0]"),
        # points of any form: scalars, arrays of any rank, ragged lists, dictionaries
        ("{+/+/+/x^2}:>[[[1 2] [3 4]]]", "[[[2.0 4.0] [6.0 8.0]]]"),
        ("{(x@0)*+/x@1}:>[2 [3 4]]", "[7.0 [2.0 2.0]]"),
        ("{(*x@0)*+/x@1}:>[[2 5] [3]]", "[[3.0 0.0] [2.0]]"),
        (
            'd:::{["w" 2.0] ["b" [1 2]]};{((x?"w")^2)++/(x?"b")^3}:>d',
            ':{["w" 4.0] ["b" [3.0 12.0]]}',
        ),
        (
            'd:::{["w" 2.0]};e::3;loss::{e*(d?"w")^2};loss:>[d e]',
            '[:{["w" 12.0]} 4.0]',
        ),
        # any order, through names, locals and globals: perturbations do not mix
        ("f::{x^4};g::{f:>x};h::{g:>x};h:>2", "48.0"),
        ("f::{x^4};g::{f:>x};h::{g:>x};k::{h:>x};k:>2", "24.0"),
        ("b::1.0;{x*{b+x}:>1}:>5.0", "1.0"),
        ("{[a];a::x;x*{a+x}:>1.0}:>5.0", "1.0"),
        ("{[a];a::x;x*{x*a}:>1.0}:>5.0", "10.0"),
        ("w::2.0;loss::{w^3};slope::{loss:>w};slope:>w", "12.0"),
        ("w::2.0;loss::{w^3};slope::{loss:>w};{x*slope()}:>w", "12.0"),
        ("{*.jacobian({x^3};x)@0}:>[2.0 3.0]", "[12.0 0.0]"),
        ("{+/.vjp({x^2};x;x)}:>[2.0 3.0]", "[8.0 12.0]"),
        ("{+/.jvp({x^2};x;x)}:>[2.0 3.0]", "[8.0 12.0]"),
        ("{+/+/.hessian({+/x^3};x)}:>[2.0 3.0]", "[6.0 6.0]"),
        # permutations, transposes, loops that end by a value
        ("{+/(x@<x)*[1 10 100]}:>[3.0 1.0 2.0]", "[100.0 1.0 10.0]"),
        ("{+/(x@>x)*[1 10 100]}:>[3.0 1.0 2.0]", "[1.0 100.0 10.0]"),
        ("{+/+/(+x)*[[1 10] [100 1000]]}:>[[1 2] [3 4]]", "[[1.0 100.0] [10.0 1000.0]]"),
        ("{+/,/x{x*y}:\\x}:>[1.0 2.0]", "[6.0 6.0]"),
        ("{+/,/x%:/x}:>[1.0 2.0]", "[-1.5 0.75]"),
        ("{+/{x*y}:'x}:>[1.0 2.0 4.0]", "[2.0 5.0 2.0]"),
        ("{+/,/2:#x*x}:>[1.0 2.0 3.0]", "[2.0 4.0 6.0]"),
        ("{+/{x<50}{x*x}\\~x}:>2.0", "37.0"),
        ("{+/2{x*x}\\*x}:>3.0", "115.0"),
        ("{{x%2}:~x}:>1.0", "0.0"),
    ],
    ids=str,
)
def test_exact(k: KlongInterpreter, program: str, result: str) -> None:
    for _ in range(3):
        assert written(k(program)) == result


def test_what_a_derivative_assigns_is_plain_numbers_afterwards(k: KlongInterpreter) -> None:
    assert k("o::0;{o::x*x;x^2}:>3.0") == 6
    assert type(k("o")) is float
    assert k("o") == 9
    assert k("{o::x;+/x^2}:>[3.0 4.0]").tolist() == [6, 8]
    assert not k("o").requires_grad
    assert k('{o::"a",x;x^2}:>3.0') == 6
    assert [type(v) for v in k("o")] == [str, float]
    assert k('d:::{["a" 1]};{d::d,"a",x;x^2}:>3.0') == 6
    assert type(k('d?"a"')) is float


def test_variables_of_a_module(k: KlongInterpreter) -> None:
    k(".module(:m);w::2.0;loss::{w^2};get::{w};inside::{loss:>[w]}")
    programs = ("loss:>[w]", "loss:>w", "[w]∂loss", "w∂loss", "inside()", "w∇loss")
    for _ in range(2):  # inside the module, and outside
        for program in programs:
            assert written(k(f"_0.5+1000*{program}")) in ("[4000]", "4000"), program
        k(".module(0)")
    k("fast::.compile(loss)")
    assert k("*fast:>[w]") == 4
    k('opt::.optim("SGD";["w"];:{["lr" 0.25]});opt(loss)')
    assert k("get()") == 1


def test_a_failing_function_leaves_variables_as_they_were(k: KlongInterpreter) -> None:
    k('w::2.0;loss::{w+"a"}')
    for program in ("loss:>w", "loss:>[w]", "w∂loss", "w∇loss"):
        with pytest.raises(KlongError):
            k(program)
        assert k("w") == 2.0
        assert k("{x^2}:>w") == 4.0


def test_regression_loss_and_both_gradients(k: KlongInterpreter) -> None:
    k("X::[1 2 3];Y::[3 5 7];w::1.0;b::0.0;loss::{(+/((w*X)+b-Y)^2)%3}")
    dw, db = k("loss:>[w b]").tolist()
    assert math.isclose(dw, -40 / 3, rel_tol=1e-14)
    assert math.isclose(db, -6, rel_tol=1e-14)


def test_descent_in_one_line(k: KlongInterpreter) -> None:
    k("w::10.0;lr::0.1;loss::{w^2};{w::w-lr*loss:>w}'!50")
    assert math.isclose(k["w"], 10 * 0.8**50, rel_tol=1e-12)


def test_numeric_gradients_are_numeric(k: KlongInterpreter) -> None:
    assert math.isclose(k("3∇{x^2}"), 6, rel_tol=1e-8)
    assert k("3.5∇{_x}") == 0
    assert k("3∇{_x}") > 1e4 > k("{_x}:>3")  # differences see the step of the floor
    assert [round(v, 5) for v in k("[1.0 2.0]∇{+/x^3}").tolist()] == [3, 12]
    assert math.isclose(k("g::∇{x^2};g(3)"), 6, rel_tol=1e-8)
    assert math.isclose(k("w::2.0;loss::{w^3};w∇loss"), 12, rel_tol=1e-7)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("{x^2}:>[1.0 2.0]", r"Sum it: \{\+/f\(x\)\}"),
        ('{x}:>"abc"', "must be a number or an array of numbers; found a string"),
        ("{+/x-:'x}:>[1.0 2.0]", "the adverb :' makes no verb of two operands"),
        ("{+/x*:\\x}:>[1.0 2.0]", "f:>x needs a function whose value is a single number"),
        ("3:>2", "f:>x needs a function; found an integer"),
        ("{x+y}:>2", "a function of one argument"),
        ("{x}:>[a b]", "needs a function without arguments"),
        ("f::{a};f:>[a b]", "a has no value"),
        ('{"abc"}:>[zz]', "zz has no value"),
        ('{"a"}∂2', "x∂f needs a function; found an integer"),
        ('2∂{"a",$x}', "a function whose value is a number or an array"),
        ("2∇{[1 2]*x}", "Sum it"),
        ('"a"∇{x}', "the point must be a number or an array of numbers; found a string"),
        ("{x∇{x^3}}:>3", "takes differences, which cannot be differentiated; f:>x is exact"),
        ("∂3", "∂f needs a function; found an integer"),
        ("∇{x+y}", "∇f needs a function of one argument"),
        ("{x}:>[]", "the point of a derivative holds no numbers: it is empty"),
        ('{*x}:>["a" 1]', "an array of numbers; found a string"),
        ("[1 [2]]∂{*x}", "must be a number or an array of numbers; found a list"),
        ('.module(:m);w::"a";f::{w};f:>[w]', "the variable w must be a number or an array"),
        ("w::3.0;f::{w^2};f:>[w w]", "w is named twice in the list of variables"),
        (".jvp({x};2;[1 2])", r"the tangent has the shape \[2\]; \[\] is needed"),
        ('.vjp({x};2;"a")', "the cotangent must be a number or an array"),
    ],
)
def test_errors(k: KlongInterpreter, program: str, message: str) -> None:
    with pytest.raises(KlongError, match=message) as caught:
        k(program)
    assert "^" in str(caught.value)
