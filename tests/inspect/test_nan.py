"""What `nan_report` says of losses, gradients and data that are not finite."""

import io
import math

import pytest

import atled as at
from atled.inspect import NanReport, keep_lines, nan_report


@pytest.fixture(autouse=True)
def _no_warnings(request: pytest.FixtureRequest):
    """NumPy warns of the forward's infinities; they are meant here."""
    if "backend" in request.fixturenames:
        request.getfixturevalue("backend")
    with at.current_backend().quiet():
        yield


def report(loss: at.Tensor) -> NanReport:
    """Return the report, and check that it is printed as it reads."""
    out = io.StringIO()
    found = nan_report(loss, file=out)
    assert out.getvalue() == f"{found}\n"
    return found


def leaf(*values: float, dtype: object = None) -> at.Tensor:
    return at.tensor(list(values), dtype=dtype, requires_grad=True)


def test_the_first_of_several_is_named_with_values_and_line(backend: str) -> None:
    x = leaf(4.0, 0.0, -1.0)
    y = at.log(x) * 2.0
    loss = at.sqrt(y).sum()
    found = report(loss)
    assert (found.found, found.operation, found.index) == ("forward", "log", (1,))
    assert "test_nan.py" in found.place
    assert found.place.endswith("y = at.log(x) * 2.0")
    assert found.values["x"].endswith("finite in [-1, 4]; at (1,): 0")
    assert "1 nan, 1 -inf, finite in [1.38629, 1.38629]; first at (1,): -inf" in found.text
    assert "log made the first infinity or NaN, of finite operands." in str(found)
    assert repr(found).startswith("<NanReport forward: log at ")
    assert x.grad is None
    loss.backward()  # the graph is there still


def test_a_quotient_shows_both_operands(backend: str) -> None:
    a, b = leaf(1.0, 2.0), leaf(3.0, 0.0)
    found = report((a / b).sum())
    assert (found.operation, found.index) == ("divide", (1,))
    assert found.values["a"].endswith("at (1,): 2")
    assert found.values["b"].endswith("at (1,): 0")


def test_operands_of_other_shapes_show_what_met(backend: str) -> None:
    a, b = leaf(1.0, 2.0), at.tensor([[1.0], [0.0]])
    found = report((a / b).sum())
    assert found.index == (1, 0)
    assert found.values["a"].endswith("at (0,): 1")
    assert found.values["b"].endswith("at (1, 0): 0")


def test_data_that_were_not_finite(backend: str) -> None:
    x = leaf(1.0, math.nan)
    found = report((x * 2).sum())
    assert (found.found, found.operation, found.index) == ("leaf", "leaf", (1,))
    assert "The data were not finite from the start: a leaf of shape (2,)" in found.text


def test_a_constant_that_was_not_finite(backend: str) -> None:
    x = leaf(1.0, 2.0)
    found = report((x * at.tensor([1.0, math.inf])).sum())
    assert (found.found, found.operation) == ("constant", "multiply")
    assert "came into multiply by its operand b" in found.text


def test_what_was_not_kept_is_said(backend: str) -> None:
    x = leaf(1.0, 2.0)
    found = report((x + at.tensor([1.0, math.nan])).sum())
    assert (found.found, found.operation) == ("forward", "sum")
    assert "The first infinity or NaN that can be seen is the result of sum" in found.text
    assert "not kept: the results of add" in found.text
    assert "line not kept: compute under `with at.inspect.keep_lines()" in found.text


def test_keep_lines_gives_every_line(backend: str) -> None:
    big = 1e200 if backend == "python" else 1e30
    with keep_lines():
        x = leaf(big)
        y = x * x
    found = report(y.sum())
    assert found.operation == "multiply"
    assert found.place.endswith("y = x * x")
    assert report((x * x).sum()).place == ""  # and only in the block


def test_a_singular_derivative_in_the_backward_pass(backend: str) -> None:
    x = leaf(4.0, 0.0)
    loss = at.sqrt(x * x).sum()
    found = report(loss)
    assert (found.found, found.operation, found.index) == ("backward", "sqrt", (1,))
    assert found.place.endswith("loss = at.sqrt(x * x).sum()")
    assert found.values["result"].endswith("at (1,): 0")
    assert found.values["cotangent"].endswith("at (1,): 1")
    assert "1 inf" in found.values["gradient"]
    assert x.grad is None
    loss.backward()


def test_what_a_mask_hides_is_no_finding(backend: str) -> None:
    x = leaf(4.0, 0.0)
    found = report(at.where(x > 0, at.log(x), 0.0).sum())
    assert (found.found, found.operation, found.hidden) == ("nothing", None, 1)
    assert "1 operation holds infinities or NaN that a mask keeps from the loss" in found.text
    masked = at.where(x > 5, -math.inf, x)  # the mask's own infinities reach nothing
    found = report((at.where(x > 5, 0.0, masked) + at.log(x - 4)).sum())
    assert found.operation == "log"


def test_without_safe_gradients_the_masked_branch_is_found(backend: str) -> None:
    x = leaf(4.0, 0.0)
    at.set_safe_gradients(False)
    found = report(at.where(x > 0, at.sqrt(x), 0.0).sum())
    assert (found.found, found.operation) == ("backward", "sqrt")
    assert found.values["cotangent"].endswith("at (1,): 0")


def test_gradients_that_overflow_where_they_meet(backend: str) -> None:
    big = 1e308 if backend == "python" else 2e38
    x = leaf(1.0)
    y = x * 1e-10
    found = report((y * big + y * big).sum() * 1e-30)
    assert found.found == "nothing"
    found = report((y * big - y * -big).sum())
    assert found.found == "backward"
    assert found.operation == "multiply"


def test_a_clean_loss(backend: str) -> None:
    x = leaf(1.0, 2.0)
    found = report((at.sin(x) * x).sum())
    assert found.found == "nothing"
    assert found.text == "The loss and its gradients are finite."
    assert repr(found) == "<NanReport nothing>"


def test_a_loss_without_graph(backend: str) -> None:
    assert report(at.tensor(1.0)).text == "The loss is finite, and nothing is recorded before it."
    found = report(at.tensor(math.nan))
    assert found.found == "constant"
    assert "it does not require a gradient" in found.text


def test_several_results_and_lists_of_operands(backend: str) -> None:
    x = leaf(4.0, 0.0)
    found = report(at.concat([x * 2, at.log(x)]).sum())
    assert found.operation == "log"
    value, _ = at.topk(1 / x, 2)
    found = report(value.sum())
    assert found.operation == "divide"


def test_float16() -> None:
    pytest.importorskip("numpy", reason="the python backend has float64 only")
    at.use("numpy")
    x = leaf(300.0, 1.0, dtype=at.float16)
    found = report(at.sum(x * x))
    assert (found.operation, found.index) == ("multiply", (0,))
    assert "float16" in found.values["result"]


def test_functions_and_compiled_functions_are_one_operation() -> None:
    pytest.importorskip("numpy", reason="the python backend has float64 only")

    class Inverse(at.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 1 / x

        @staticmethod
        def backward(ctx, g):
            return g

    at.use("numpy")
    x = leaf(0.0, 1.0)
    found = report(Inverse.apply(x).sum())
    assert found.operation == "sum"
    assert "not kept: the results of Inverse" in found.text
    pytest.importorskip("llvmlite", reason="compile needs llvmlite")
    found = report(at.compile(lambda x: at.sqrt(x).sum())(x))
    assert (found.found, found.index) == ("backward", (0,))
    assert found.values["operand 0"].endswith("at (0,): 0")


def test_a_checkpoint_is_one_operation(backend: str) -> None:
    x = leaf(4.0, 0.0)
    found = report(at.checkpoint(lambda v: at.sqrt(v))(x).sum())
    assert (found.found, found.operation, found.index) == ("backward", "checkpoint", (1,))
    found = report(at.where(x > 0, at.checkpoint(at.sqrt)(x), 0.0).sum())
    assert found.found == "nothing"


def test_in_compile_and_vmap_there_are_no_values() -> None:
    pytest.importorskip("numpy", reason="the python backend has float64 only")
    at.use("numpy")
    x = leaf(0.0, 1.0)
    with pytest.raises(at.TraceError, match="there are none inside compile or vmap"):
        at.vmap(lambda r: nan_report(at.sqrt(r)))(x)


def test_after_a_vmap(backend: str) -> None:
    x = at.tensor([[0.0, 1.0], [2.0, 3.0]], requires_grad=True)
    found = report(at.vmap(lambda r: at.log(r).sum())(x).sum())
    assert (found.found, found.operation) == ("forward", "log")


def test_a_freed_graph_says_so(backend: str) -> None:
    loss = at.log(leaf(1.0)).sum()
    loss.backward()
    with pytest.raises(at.GradError, match=r"freed .*; call it before backward\(\), or call"):
        nan_report(loss)


def test_only_tensors() -> None:
    with pytest.raises(TypeError, match="nan_report: a Tensor is needed; found float"):
        nan_report(math.nan)
