"""Python from Klong and Klong from Python."""

import math
import sys
from datetime import datetime
from pathlib import Path

import pytest

import atled as at
from atled.klong import KlongError, KlongInterpreter, KlongSymbol
from atled.klong.printer import written


@pytest.fixture
def k(backend: str) -> KlongInterpreter:
    return KlongInterpreter(backend=backend)


def test_values_go_in_and_come_out(k: KlongInterpreter, backend: str) -> None:
    assert k.backend.name == backend
    assert k.backend.device == "cpu"
    k["a"] = [1, 2, 3]
    assert k("+/a") == 6
    assert k("a*2").backend.name == backend
    assert type(k("a*2").array) in at.current_backend().array_types
    k["d"] = {"x": [1.5, 2.5], "y": True}
    assert k('d?"y"') == 1
    assert written(k["d"]) == ':{["x" [1.5 2.5]] ["y" 1]}'
    k["n"] = None
    assert k(":_n") == 1
    k["t"] = at.tensor([1.0, 2.0], requires_grad=True)
    (g,) = at.autograd.grad(k("+/t^2"), k["t"])
    assert g.tolist() == [2, 4]
    assert "a" in k
    del k["a"]
    assert "a" not in k
    with pytest.raises(KeyError, match="a"):
        k["a"]
    with pytest.raises(KlongError, match="it cannot be redefined"):
        k[".p"] = 1


def test_arrays_of_numpy() -> None:
    np = pytest.importorskip("numpy")
    k = KlongInterpreter(backend="numpy")
    k["a"] = np.arange(6).reshape(2, 3)
    assert k("+a").shape == (3, 2)
    assert type(k("a+1").array) is np.ndarray
    k["b"] = np.array(["x", "y"])
    assert k("b") == ["x", "y"]
    k["c"] = np.float64(2.5)
    assert type(k("c")) is float
    k["e"] = np.array([True, False])
    assert written(k("e")) == "[1 0]"
    k["z"] = np.zeros((0,))
    assert k("z") == []


def test_functions_both_ways(k: KlongInterpreter) -> None:
    k["f"] = lambda x, y, z: x * 1000 + y - z
    assert k("f(3;10;20)") == 2990
    assert k("f(3;;20)(10)") == 2990
    k("g::{(x*1000)+y-z}")
    assert k["g"](3, 10, 20) == 2990
    k["h"] = lambda x: x + 1
    assert k("h'[1 2 3]").tolist() == [2, 3, 4]
    k["apply"] = lambda function, x: function(x)
    assert k("apply({x*x};7)") == 49
    with pytest.raises(KlongError, match="takes 3 arguments; got 1"):
        k["g"](1)
    with pytest.raises(KlongError, match="f takes 3 arguments; found 1"):
        k("f(1)")
    k["optional"] = lambda x, y=10: x + y
    assert k("optional(1),optional(1;2)").tolist() == [11, 3]


def test_modules(k: KlongInterpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert k('.py("math");sqrt(64)') == 8
    assert k("fsum(!100)") == 4950
    assert k('.pyf("math";["floor" "ceil"]);floor(1.5),ceil(1.5)').tolist() == [1, 2]
    k('.pyf("fractions";"Fraction")')
    k("q::Fraction(3;4)")
    assert k('.pya(q;"denominator")') == 4
    folder = tmp_path / "greetings"
    folder.mkdir()
    (folder / "__init__.py").write_text("def hello():\n    return 'world!'\nsnake_case = 5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert k('.py("greetings");hello()') == "world!"
    assert k("snake.case") == 5
    sys.modules.pop("greetings")
    k('.py("' + str(folder) + '")')
    assert k("hello()") == "world!"
    sys.modules.pop("greetings", None)


def test_a_module_may_say_what_it_exports(
    k: KlongInterpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chosen.py").write_text(
        "def f(x): return x + 1\ndef g(x): return x\nklong_exports = {'plus_one': f}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert k('.py("chosen");plus.one(2)') == 3
    assert "g" not in k
    sys.modules.pop("chosen")


def test_functions_of_numpy_take_and_give_arrays(k: KlongInterpreter) -> None:
    pytest.importorskip("numpy")
    k('.pyf("numpy";["sqrt" "sum" "linspace"])')
    assert written(k("sqrt([4 9])")) == "[2.0 3.0]"
    assert written(k("sqrt'[4 9],sum([1 2 3])")) in ("[2.0 3.0 2.449489742783178]",)
    assert written(k("linspace(0;1;3)")) == "[0.0 0.5 1.0]"
    assert k("sqrt(4)") == 2


def test_functions_are_values_on_both_sides(k: KlongInterpreter) -> None:
    k["fn"] = lambda x: x + 10
    assert k("foo::{x(2)};foo(fn)") == 12
    assert k("foo::{x};foo(fn)(2)") == 12
    assert k["fn"](1) == 11
    k("add::{x+10+y*z};bar::{x(2;;)};half::bar(add)")
    assert k("half(3;5)") == 27
    assert k["half"](3, 5) == 27
    k("table:::{};table,:sq,{x*x}")
    assert k["table"][KlongSymbol("sq")](7) == 49
    assert k["fn"] is k["fn"]  # a function of Python comes back as itself
    k("adder::{[n];n::x;{x+1}}")
    assert k["adder"](5)(1) == 2
    k["pair"] = lambda x: (x, {"twice": 2 * x, "all": [x, "s", None]})
    assert written(k("pair(3)")) == '[3 :{["twice" 6] ["all" [3 "s" :undefined]]}]'
    assert k('(pair(3)@1)?"twice"') == 6


def test_objects_that_klong_does_not_know_are_handed_on(k: KlongInterpreter) -> None:
    when = datetime(2018, 6, 21)
    k["parsed"] = lambda x: datetime.strptime(x, "%d %B, %Y")
    assert k('a::parsed("21 June, 2018")') == when
    assert k["a"] == when
    assert k('d:::{};d,"timestamp",a') == {"timestamp": when}
    assert k('.pya(a;"year")') == 2018
    assert k('.pya(:a;"month")') == 6
    assert k("(a~a),(a=a),@a") is not None
    assert written(k("a,1")) == "[2018-06-21 00:00:00 1]"


def test_strings_dictionaries_and_numbers_live_together(k: KlongInterpreter, backend: str) -> None:
    k('people:::{["ann" [3 4.5]] [:bob :{["age" 7]}] [0cx "y"] [2 [1 "a" [2 3]]]}')
    assert type(k('people?"ann"').array) in at.current_backend().array_types or backend
    assert k('(people?:bob)?"age"') == 7
    assert k("people?0cx") == "y"
    assert written(k("(people?2)@2")) == "[2 3]"
    assert k('+/people?"ann"') == 7.5
    assert written(k("{x@0}'people")) == '["ann" :bob 0cx 2]'
    assert written(k('["one" 1 :{[1 "uno"]}]')) == '["one" 1 :{[1 "uno"]}]'
    assert k('.bkf(["exp"]);{+/exp(x)}:>[0.0 0.0]').tolist() == [1, 1]


def test_calls_with_keywords(k: KlongInterpreter) -> None:
    k["f"] = lambda a, b=1: a * b
    assert k('.pyc("f";[3];:{["b" 5]})') == 15
    assert k(".pyc(:f;3;:{})") == 3
    k["s"] = "x".__class__
    k["o"] = complex(3, 4)
    assert k('.pyc(o,,"conjugate";[];:{})') == complex(3, -4)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ('.py("no.such.module")', "the Python module 'no.such.module' cannot be imported"),
        ('.py("./nothing")', "there is no Python module at './nothing'"),
        ('.pyf("math";"nope")', "the Python module 'math' has no 'nope'"),
        ('.pya(1;"nope")', "int has no attribute 'nope'"),
        (".pyc(1;2;:{})", "a must be a function of Python"),
        ("f::{x};.pyc(f;2;3)", "c must be a dictionary"),
        ('.bkf(["nope"])', "the backend has no function 'nope'"),
        (
            '.optim("Nope";["w"];:{})',
            "there is no optimizer 'Nope'; there are Adadelta, Adagrad, Adam, ",
        ),
        ('.optim("Optimizer";["w"];:{})', "there is no optimizer 'Optimizer'"),
        ('.optim("SGD";["w"];3)', "must be a dictionary"),
        ('.optim("SGD";["w"];:{["rate" 1]})', "SGD has no option 'rate'; there are lr, momentum, "),
        (
            '.pyf("atled.klong";"AdamOptimizer");AdamOptimizer(klong;["w"];:{["betas" 1]})',
            "AdamOptimizer has no option 'betas'; there are lr, beta1, beta2, eps, ",
        ),
        (
            'w::1.0;f::{w^2};o::.optim("SGD";["w"];:{["lr" -1]});o(f)',
            r"SGD: lr must lie in \[0, inf\); found -1",
        ),
        ('.bkf("solv")', "the backend has no function 'solv'; did you mean solve, "),
    ],
)
def test_errors(k: KlongInterpreter, program: str, message: str) -> None:
    with pytest.raises(KlongError, match=message):
        k(program)


def test_dtypes_of_arrays_that_python_hands_over(backend: str) -> None:
    np = pytest.importorskip("numpy", reason="its arrays are handed over")
    k = KlongInterpreter(backend=backend)
    k["a"] = np.array([1, 200], dtype=np.uint8)
    assert k("-a").tolist() == [-1, -200]
    k["a"] = np.array([1, 2**63], dtype=np.uint64)
    assert k("a") == [1, 2**63]
    assert k("1+a@1") == 2**63 + 1
    k["a"] = np.array([0.5, 1.5], dtype=np.float32)
    if backend != "python":  # its reals are float64
        assert k("2*a").dtype is at.float32
        assert k("{+/x^2}:>a").dtype is at.float32
    assert k("a*[1.0 2.0]").dtype is at.float64


def test_a_plain_number_of_python_is_no_zero_gradient(k: KlongInterpreter) -> None:
    k('.pyf("math";"sqrt")')
    k["constant"] = lambda x: x.detach() * 0 + 5
    assert k("{x*sqrt(2.25)}:>3.0") == 1.5
    assert k("{x*constant(x)}:>3.0") == 5
    for program in ("{sqrt(x)}:>4.0", "[4.0]∂{sqrt(*x)}", "w::4.0;f::{sqrt(w)};f:>[w]"):
        with pytest.raises(KlongError, match="sqrt of Python gives a plain number, without the "):
            k(program)
    assert k("sqrt(4.0)") == 2


def test_functions_of_scipy_have_no_derivative_and_say_so(k: KlongInterpreter) -> None:
    pytest.importorskip("scipy", reason="its functions are called here")
    k('.pyf("scipy.special";"gamma");.pyf("scipy.linalg";"expm")')
    for program in ("{gamma(x)}:>2.0", "{+/,/expm(x)}:>[[1.0 2.0] [3.0 4.0]]"):
        with pytest.raises(KlongError, match=r"of Python has no derivative here. Use a function"):
            k(program)


def test_linear_algebra_of_the_backend(k: KlongInterpreter) -> None:
    k('.bkf(["solve" "linalg.inv" "log.softmax"])')
    assert k("solve([[2.0 0.0] [0.0 4.0]];[2.0 2.0])").tolist() == [1, 0.5]
    assert k("{+/,/linalg.inv(x)}:>[[2.0 0.0] [0.0 4.0]]").tolist() == [
        [-0.25, -0.125],
        [-0.125, -0.0625],
    ]
    assert k("log.softmax([0.0 0.0])").tolist() == pytest.approx([-math.log(2)] * 2)
    with pytest.raises(KlongError, match="no function 'nope'"):
        k('.bkf(["erf" "nope"])')
    assert "erf" not in k  # nothing is defined if one of the names is wrong


def test_functions_of_the_backend_are_differentiable(k: KlongInterpreter) -> None:
    k('.bkf(["exp" "log" "sin" "tanh"])')
    assert k("exp:>0") == 1
    assert k("{log(x)}:>4.0") == 0.25
    assert k("{{sin(x)}:>x}:>0.0") == 0
    assert written(k("sin([0 [0.0]])")) == "[0.0 [0.0]]"
    assert type(k("tanh(0)")) is float


def test_an_optimizer_is_shown_by_its_name(k: KlongInterpreter) -> None:
    assert written(k('.optim("SGD";["w"];:{})')) == ":SGD"


@pytest.mark.parametrize("name", ["SGDOptimizer", "AdamOptimizer"])
def test_optimizers(k: KlongInterpreter, name: str) -> None:
    rate = 0.05 if name == "SGDOptimizer" else 0.1
    k("w::1.0;b::0.0;X::[1 2 3];Y::[3 5 7];loss::{(+/((w*X)+b-Y)^2)%3}")
    k(f'.pyf("atled.klong.optimizers";"{name}")')
    k(f'opt::{name}(klong;["w" "b"];:{{["lr" {rate}]}})')
    k("losses::{opt(loss)}'!500")
    assert abs(k("w") - 2) < 2e-2
    assert abs(k("b") - 1) < 4e-2
    losses = k["losses"].tolist()
    assert losses[0] == pytest.approx(29 / 3, rel=1e-12)
    assert losses[-1] < 1e-3


def test_momentum_and_any_optimizer_of_optim(k: KlongInterpreter) -> None:
    k('w::[3.0 -4.0];loss::{+/w^2};.pyf("atled.klong";"SGDOptimizer")')
    k('opt::SGDOptimizer(klong;["w"];:{["lr" 0.05] ["momentum" 0.5]});{opt(loss)}\'!200')
    assert k("|/#'w") < 1e-4
    k('v::2.0;cost::{v^2};o::.optim("RMSprop";"v";:{["lr" 0.01]});{o(cost)}\'!500')
    assert abs(k["v"]) < 1e-2
    with pytest.raises(KlongError, match="nonsense"):
        k('p::.optim("SGD";"v";:{["nonsense" 1]});p(cost)')


def test_an_optimizer_sees_what_the_program_assigns(k: KlongInterpreter) -> None:
    k('w::2.0;loss::{w^2};opt::.optim("SGD";"w";:{["lr" 0.25]});opt(loss)')
    assert k["w"] == 1
    assert k("w::8.0;opt(loss);w") == 4


def test_settings_outside_stay_as_they_were(k: KlongInterpreter) -> None:
    before = at.current_backend().name, at.get_default_dtype(), sys.getrecursionlimit()
    k("1+1")
    with pytest.raises(KlongError):
        k("foo")
    assert (at.current_backend().name, at.get_default_dtype(), sys.getrecursionlimit()) == before


def test_the_package_has_it_at_its_door() -> None:
    assert at.KlongInterpreter is KlongInterpreter
    assert at.klong.KlongError is KlongError


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(at.BackendError, match="no backend is called 'nope'"):
        KlongInterpreter(backend="nope")
    with pytest.raises(at.BackendError, match="computes on the cpu"):
        KlongInterpreter(backend="python", device="cuda")
