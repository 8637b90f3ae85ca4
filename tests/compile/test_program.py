"""Programs as a whole: what they are made of, what they refuse, what they let go."""

import gc
import subprocess
import sys
import warnings
import weakref

import pytest

pytest.importorskip("numpy", reason="programs are made for NumPy's arrays")
pytest.importorskip("llvmlite", reason="LLVM comes with llvmlite")

import numpy as np

import atled as at
from atled import nn
from atled.compile.fuse import planned
from atled.compile.kernel import lowered
from atled.compile.loops import emit
from atled.compile.simplify import simplified
from atled.core.graph import parse
from atled.errors import IndexingError, TraceError
from atled.nn import functional as F


def _program(compiled):
    return compiled._prepared[0].program


def test_a_product_is_joined_to_what_works_on_its_rows() -> None:
    w, b = at.randn(64, 96), at.randn(96)
    layer = at.compile(lambda x: at.tanh(x @ w + b))
    x = at.randn(128, 64)
    assert np.allclose(layer(x).numpy(), layer.__wrapped__(x).numpy(), atol=1e-6)
    (level,) = _program(layer).schedule.levels
    assert [step.title for step in level] == ["matmul 128x96x64, tanh+add"]


def test_a_norm_of_rows_is_joined_to_the_product() -> None:
    w = at.randn(48, 80)
    layer = at.compile(lambda x: at.softmax(x @ w, axis=-1))
    x = at.randn(72, 48)
    assert np.allclose(layer(x).numpy(), layer.__wrapped__(x).numpy(), atol=1e-6)
    assert len(_program(layer).schedule.levels) == 1


def test_a_sum_over_columns_is_not() -> None:
    w = at.randn(48, 80)
    layer = at.compile(lambda x: at.softmax(x @ w, axis=0))
    x = at.randn(72, 48)
    assert np.allclose(layer(x).numpy(), layer.__wrapped__(x).numpy(), atol=1e-6)
    assert len(_program(layer).schedule.levels) > 1


@pytest.mark.parametrize("wrong", [10, 10**9, -1, -(10**9)])
def test_a_bad_index_is_an_error_and_changes_nothing(wrong: int) -> None:
    embedding = nn.Embedding(10, 32)
    optimizer = at.optim.Adam(embedding.parameters(), lr=0.1)

    @at.compile
    def step(i: at.Tensor) -> at.Tensor:
        loss = (embedding(i) ** 2).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    step(at.tensor([1, 2, 3]))
    before = embedding.weight.detach().numpy().copy()
    with pytest.raises(IndexingError, match=r"an index is (out of range|negative)"):
        step(at.tensor([1, 2, wrong]))
    assert np.array_equal(embedding.weight.detach().numpy(), before)
    assert step.stats().programs == 1
    step(at.tensor([4, 5, 6]))


def test_halves_are_refused() -> None:
    with pytest.raises(TraceError, match="compile works in float32 and float64; input of shape"):
        at.compile(lambda x: x * 2)(at.ones(3, dtype=at.float16))


def test_explain_says_what_there_is() -> None:
    f = at.compile(lambda x: at.sort(x * 2).sum())
    with pytest.raises(TraceError, match="has no program yet; call it first"):
        f.explain()
    f(at.tensor([3.0, 1.0, 2.0]))
    text = f.explain()
    assert "1 eager calls" in text
    assert "argsort: there are no loops for it" in text
    assert "on one thread: too small to share" in text


def test_strict_refuses_eager_calls() -> None:
    f = at.compile(lambda x: at.sort(x), strict=True)
    with pytest.raises(TraceError, match="strict=True, would call argsort eagerly"):
        f(at.tensor([3.0, 1.0, 2.0]))


def test_programs_that_are_not_kept_are_gone_at_once() -> None:
    f = at.compile(lambda x: at.exp(x).sum())
    f(at.ones(1))
    first = weakref.ref(_program(f))
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of many traces, which is what is asked for here
            for n in range(2, 40):
                f(at.ones(n))
        assert first() is None
    finally:
        gc.enable()
    assert f.stats().programs == 32


def test_threads_are_set_by_name() -> None:
    before = at.get_num_threads()
    at.set_num_threads(1)
    assert at.get_num_threads() == 1
    at.set_num_threads(before)
    with pytest.raises(ValueError, match="from 1 to 1024"):
        at.set_num_threads(0)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["1", "2", "3", "4"])
def test_debug_levels_print(level: str) -> None:
    words = {
        "1": ["as traced:", "simplified:", "exp("],
        "2": ["kernels", "what"],
        "3": ["define"],
        "4": [" us  level0"],
    }[level]
    code = "import atled as at; at.compile(lambda x: at.exp(x).sum())(at.ones(5))"
    env = {"ATLED_DEBUG": level, "PATH": ""}
    run = [sys.executable, "-c", code]
    text = subprocess.run(run, env=env, capture_output=True, text=True, check=True).stdout
    assert all(word in text for word in words)


def test_a_wrong_debug_level_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLED_DEBUG", "9")
    with pytest.raises(ValueError, match="ATLED_DEBUG is a number from 0 to 4; found '9'"):
        at.compile(lambda x: x + 1)(at.ones(3))


def test_a_pooled_maximum_and_its_gradient() -> None:
    x = at.randn(2, 3, 7, 9, dtype=at.float64, requires_grad=True)

    def f(x: at.Tensor) -> at.Tensor:
        return (F.max_pool2d(x, 3, 2, 1) ** 2).sum()

    (expected,) = at.autograd.grad(f(x), x)
    (found,) = at.autograd.grad(at.compile(f)(x), x)
    assert np.allclose(found.numpy(), expected.numpy())


def test_a_program_wants_all_its_inputs() -> None:
    f = at.compile(lambda x, y: x + y)
    f(at.ones(3), at.ones(3))
    with pytest.raises(ValueError, match="the program has 2 inputs; found 1 arrays"):
        _program(f).run([np.ones(3, np.float32)])


@pytest.mark.parametrize("wrong", [11, 10**6, -(2**40)])
def test_an_index_of_an_index_is_tested_first(wrong: int) -> None:
    table, values = at.tensor([0, 1, 2]), at.randn(8)
    f = at.compile(lambda i: at.take(values, at.take(table, i)))
    assert np.array_equal(f(at.tensor([2, 0])).numpy(), values.numpy()[[2, 0]])
    with pytest.raises(IndexingError, match="out of range"):
        f(at.tensor([0, wrong]))
    bad = at.tensor([0, 1, 9])
    g = at.compile(lambda i: at.take(values, at.take(bad, i)))
    with pytest.raises(IndexingError, match="out of range for size 8"):
        g(at.tensor([0, 2]))


def test_narrow_vectors_do_not_load_beyond_a_strided_array() -> None:
    graph = parse("""
graph(%0: float64[64,4]) {
  %1: float64[64,1] = slice(%0, index=((0,64,1,),(3,4,1,),))
  %2: float64[64] = reshape(%1, shape=(64,))
  %3: float64[64] = exp(%2)
  return %3
}""")
    plan = planned(simplified(graph))
    loops = lowered(plan.steps[0], plan.arrays)
    assert "masked.gather" in emit(loops, 16).body  # two lanes: whole vectors would reach too far
    assert "masked.gather" not in emit(loops, 64).body


def test_a_long_chain_compiles_far_down_the_stack() -> None:
    def chain(x: at.Tensor) -> at.Tensor:
        for _ in range(140):
            x = x * 1.01 + 0.5
        return x

    def deep(n: int) -> at.Tensor:
        return deep(n - 1) if n else at.compile(chain)(at.ones(3))

    assert np.allclose(deep(500).numpy(), chain(at.ones(3)).numpy())


def test_a_compiled_module_shows_its_parameters() -> None:
    model = nn.Linear(2, 3)
    compiled = at.compile(model)
    assert compiled(at.ones(1, 2)).shape == (1, 3)
    assert [p.shape for p in compiled.parameters()] == [(3, 2), (3,)]
    with pytest.raises(AttributeError, match="no attribute '_nothing'"):
        _ = compiled._nothing


@pytest.mark.parametrize("wrong", ["a", -1, True])
def test_verify_is_a_number_of_calls(wrong: object) -> None:
    with pytest.raises(ValueError, match="verify is a number of calls"):
        at.compile(lambda x: x, verify=wrong)
