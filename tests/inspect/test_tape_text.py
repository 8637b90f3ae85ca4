"""The printed tape: every line says what the node is, keeps and does."""

import io
from types import FunctionType

import pytest

import atled as at
from atled.core import kinds
from atled.core.apply import apply
from atled.core.op import REGISTRY
from atled.inspect import print_tape
from atled.inspect.facts import size_text
from atled.inspect.rules import rule_text, rule_texts

pytestmark = pytest.mark.usefixtures("backend")


def printed(*outputs):
    out = io.StringIO()
    print_tape(*outputs, file=out)
    return out.getvalue().splitlines()


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


@pytest.fixture
def x():
    return at.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=at.float64, requires_grad=True)


@pytest.fixture
def b():
    return at.tensor([0.5, 2.0], dtype=at.float64, requires_grad=True)


def test_a_quotient(x, b):
    lines = printed(x / b)
    assert cells(lines[0]) == ["operation", "operands → result", "dtype", "saved", "rule"]
    assert cells(lines[1]) == ["%0", "leaf", "(2, 2)", "float64", "no grad"]
    assert cells(lines[2]) == ["%1", "leaf", "(2,)", "float64", "no grad"]
    assert cells(lines[3]) == [
        "%2", "divide", "%0 (2, 2), %1 (2,) → (2, 2)", "float64",
        "b: (2,) float64, 16 B; y: (2, 2) float64, 32 B", "∂/∂a = 1 / b;", "∂/∂b = -y / b",
    ]  # fmt: skip
    assert lines[4] == "3 nodes; 48 B saved"
    assert len({line.index("float64") for line in lines[1:4]}) == 1


def test_constants_are_dots_and_numbers(x):
    c = at.tensor([1.0, 2.0], dtype=at.float64)
    (_, _, product, scaled, shifted, _) = printed(x * c * 1.5 - c)
    assert "%0 (2, 2), · (2,) → (2, 2)" in product
    assert "%1 (2, 2), 1.5 → (2, 2)" in scaled
    assert "b = 1.5" in scaled
    assert "%2 (2, 2), · (2,) → (2, 2)" in shifted


def test_static_parameters_are_shown(x):
    lines = printed(x.sum(axis=0).astype(at.float64).reshape(1, 2))
    assert "axis=(0,)" in lines[2] or "axis=0" in lines[2]
    assert "shape=(1, 2)" in lines[-2]
    assert "x_shape = (2, 2)" in lines[2]


def test_an_array_kept_twice_counts_once(x):
    assert printed(x * x)[-1] == "2 nodes; 32 B saved"


def test_a_freed_tape(x):
    y = (x * x).sum()
    y.backward()
    lines = printed(y)
    assert "(freed) → ()" in lines[1]
    assert lines[-1] == "1 node, 1 of them freed; 0 B saved"
    assert "grad (2, 2)" in printed(x * x)[1]


def test_a_leaf_that_is_gone():
    y = at.tensor([1.0], requires_grad=True) * 2.0
    assert "its Tensor is gone" in printed(y)[1]


def test_without_outputs_the_newest_tape_is_printed(x, b):
    kept = x * b
    newest = (x - b).sum()
    assert printed() == printed(newest)
    assert printed(kept) != printed()


def test_several_outputs_are_one_tape(x, b):
    assert printed(x.sin(), b.cos())[-1].startswith("4 nodes")
    assert "sum" in printed((x * b).sum())[4]


def test_an_empty_tape(x):
    assert printed(x.detach()) == ["the tape is empty: the outputs do not require gradients"]


def test_a_function_shows_its_backward(x):
    class Cube(at.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            """Scale by the slope.

            More.
            """
            (x,) = ctx.saved_tensors
            return 3 * x * x * g

    line = printed(Cube.apply(x))[2]
    assert "Cube" in line
    assert "saved[0]: (2, 2) float64, 32 B" in line
    assert line.endswith("Cube.backward: Scale by the slope.")


def test_several_results_are_ports(x):
    class Both(at.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2.0, x * 3.0

        @staticmethod
        def backward(ctx, g, h):
            return 2.0 * g + 3.0 * h

    a, b = Both.apply(x)
    lines = printed(a * b)
    assert "%0 (2, 2) → several" in lines[2]
    assert cells(lines[3])[:4] == ["%2", "output 0", "%1 → (2, 2)", "float64"]


def test_printing_is_by_default_to_the_standard_output(x, capsys):
    print_tape(x.sin())
    assert "∂/∂x = cos(x)" in capsys.readouterr().out


@pytest.mark.slow
def test_a_long_tape_is_printed(x):
    y = x
    for _ in range(20_000):
        y = y.sin()
    assert len(printed(y)) == 20_003


# -- the text of rules ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "position", "text"),
    [
        ("add", 0, "∂/∂a = 1"),
        ("subtract", 1, "∂/∂b = -1"),
        ("divide", 0, "∂/∂a = 1 / b"),
        ("divide", 1, "∂/∂b = -y / b"),
        ("sin", 0, "∂/∂x = cos(x)"),
        ("copysign", 1, "∂/∂b = 0"),
        ("pow", 0, "∂/∂a = b * where((a == 0) & (b == 0), 1, a) ** (b - 1)"),
        ("maximum", 1, "∂/∂b = winner(b, a, y)"),
    ],
)
def test_the_text_is_that_of_the_record(name, position, text):
    assert rule_text(REGISTRY[name], position) == text


def test_every_record_has_text():
    for op in list(REGISTRY.values()):
        if isinstance(op.derivative, list):
            for i in range(len(op.derivative)):
                text = rule_text(op, i)
                assert " = " in text, text
                assert "xp." not in text, text
                assert "lambda" not in text.partition("=")[0], text


def test_other_rules_are_cotangents(x):
    assert rule_texts((x @ x.mT).grad_fn.derivative)[0].startswith("ā = ")
    assert rule_texts(x.sum().grad_fn.derivative)[0].startswith("x̄ = ")


def own_rule(xp, g, x):
    """Scale by the slope.

    More.
    """
    return g * 2 * x


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (own_rule, "x̄ = own_rule(g, x): Scale by the slope."),
        (lambda xp, g, x: (xp.where(x > 0, g, (2 * g))), "x̄ = where(x > 0, g, 2 * g)"),
        (
            lambda xp, g, x: g if x is None else (
                (lambda xp, y: y)(xp, x)
            ),
            "x̄ = g if x is None else (lambda xp, y: y)(x)",
        ),
        (FunctionType(compile("lambda xp, g, x: g", "<gone>", "eval").co_consts[0], {}),
         "x̄ = f(g, x)"),
    ],
)  # fmt: skip
def test_rules_of_all_forms(rule, text):
    op = kinds.opaque("t_rule", vjps=[rule], jvps=[own_rule], infer=lambda x: x,
                      forward=lambda xp, x: x)  # fmt: skip
    try:
        assert rule_text(op, 0) == text
        x = at.tensor([1.0], requires_grad=True)
        assert text in printed(apply(op, x))[2]
    finally:
        del REGISTRY["t_rule"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (999_950, "1 MB"), (32_000_000, "32 MB")],
)
def test_bytes_as_people_read_them(count, text):
    assert size_text(count) == text
