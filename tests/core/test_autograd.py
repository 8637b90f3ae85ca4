"""The autograd core as a user meets it: backward, grad, graphs, leaves, hooks, in-place code."""

import copy
import gc
import pickle
import weakref

import pytest

import atled as at
from atled.core.tape import Node


def test_shared_operand_adds_up(backend: str) -> None:
    x = at.tensor([3.0], requires_grad=True)
    y = at.mul(x, x)
    z = at.add(y, x)
    z.backward()
    assert x.grad.tolist() == [7.0]


def test_chain_rule_through_a_power(backend: str) -> None:
    x = at.tensor(2.0, requires_grad=True)
    at.sin(at.pow(x, 2.0)).backward()
    assert x.grad.item() == pytest.approx(-2.6146, abs=1e-4)


def test_gradient_descent_reaches_the_minimum(backend: str) -> None:
    x = at.tensor(5.0, requires_grad=True)
    for _ in range(50):
        x.grad = None
        (x**2).backward()
        x -= 0.1 * x.grad
    assert abs(x.item()) < 1e-4
    assert x.is_leaf
    assert x.requires_grad


def test_broadcast_cotangents_have_the_operands_shapes(backend: str) -> None:
    a = at.ones(100, 1, requires_grad=True)
    b = at.ones(1, 50, requires_grad=True)
    (a + b).sum().backward()
    assert a.grad.shape == (100, 1)
    assert b.grad.shape == (1, 50)
    assert a.grad.tolist() == [[50.0]] * 100
    assert b.grad.tolist() == [[100.0] * 50]


def test_two_backward_passes_accumulate(backend: str) -> None:
    x = at.tensor([1.0, 2.0], requires_grad=True)
    for _ in range(2):
        (x * 2).sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]
    x.grad.zero_()
    assert x.grad.tolist() == [0.0, 0.0]
    x.grad += 1
    assert x.grad.tolist() == [1.0, 1.0]


def test_matrix_expression(backend: str) -> None:
    a = at.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    b = at.tensor([[0.5, -1.0], [2.0, 1.5]], requires_grad=True)
    (((a @ b) + a) * b).sum().backward()
    # d/dA Σ((AB + A) ∘ B) = B Bᵀ + B;  d/dB = Aᵀ B + (AB + A)
    assert at.testing.assert_close(a.grad, b.detach() @ b.detach().T + b.detach()) is None
    expected = a.detach().T @ b.detach() + a.detach() @ b.detach() + a.detach()
    at.testing.assert_close(b.grad, expected)


@pytest.mark.slow
def test_chain_of_100_000_nodes(backend: str) -> None:
    x = at.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.backward()
    assert x.grad.item() == 1.0


def test_dropping_a_long_chain_does_not_recurse(backend: str) -> None:
    y = at.tensor(1.0, requires_grad=True)
    for _ in range(100_000):
        y = y * 1.0
    del y


def test_ladder_of_60_doublings_visits_each_node_once(backend: str) -> None:
    x = at.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**60


def _live_nodes() -> int:
    return sum(issubclass(type(o), Node) for o in gc.get_objects())


def test_nodes_are_freed_without_the_cycle_collector(backend: str) -> None:
    x = at.tensor([1.0, 2.0], requires_grad=True)
    gc.collect()
    before = _live_nodes()
    gc.disable()
    try:
        total = 0.0
        for _ in range(200):
            loss = (at.sin(x) * x).sum()
            loss.backward()
            total += loss.item()
        del loss
        assert _live_nodes() == before
    finally:
        gc.enable()


def test_a_graph_never_walked_is_freed_with_its_tensor() -> None:
    x = at.tensor([1.0, 2.0], requires_grad=True)
    y = at.exp(x).sum()
    node = weakref.ref(y.grad_fn)
    gc.disable()
    try:
        del y
        assert node() is None
    finally:
        gc.enable()


def test_non_scalar_needs_a_cotangent() -> None:
    x = at.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ValueError, match=r"shape \(2,\) needs its cotangent") as error:
        (x * 2).backward()
    assert isinstance(error.value, at.GradError)
    (x * 2).backward(at.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [2.0, 20.0]
    with pytest.raises(at.ShapeError, match=r"gradient has shape \(3,\), its Tensor \(2,\)"):
        (x * 2).backward([1.0, 2.0, 3.0])
    assert x.grad.tolist() == [2.0, 20.0]


def test_nothing_to_differentiate_says_why() -> None:
    with pytest.raises(at.GradError, match="does not depend on anything that requires"):
        at.tensor(1.0).backward()


def test_second_walk_of_a_freed_graph_is_refused() -> None:
    x = at.tensor(2.0, requires_grad=True)
    y = x * x
    y.backward()
    with pytest.raises(at.GradError, match="freed by an earlier backward pass"):
        y.backward()
    assert x.grad.item() == 4.0
    z = x * x
    z.backward(retain_graph=True)
    z.backward()
    assert x.grad.item() == 12.0


def test_create_graph_gives_higher_derivatives(backend: str) -> None:
    x = at.tensor(2.0, requires_grad=True)
    (first,) = at.autograd.grad(x**4, x, create_graph=True)
    (second,) = at.autograd.grad(first, x, create_graph=True)
    (third,) = at.autograd.grad(second, x)
    assert [first.item(), second.item(), third.item()] == [32.0, 48.0, 48.0]


def test_backward_with_create_graph_accumulates_a_differentiable_grad() -> None:
    x = at.tensor(3.0, requires_grad=True)
    (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    (second,) = at.autograd.grad(x.grad, x)
    assert second.item() == 18.0


def test_grad_touches_no_grad_field_and_reports_unused() -> None:
    x, y = at.tensor(1.0, requires_grad=True), at.tensor(2.0, requires_grad=True)
    z = x * 3
    assert at.autograd.grad(z, x, retain_graph=True)[0].item() == 3.0
    assert x.grad is None
    with pytest.raises(at.GradError, match=r"input 1 .* is not used"):
        at.autograd.grad(z, (x, y), retain_graph=True)
    assert at.autograd.grad(z, (x, y), allow_unused=True, retain_graph=True)[1] is None
    found = at.autograd.grad(z, (x, y), materialize_grads=True)
    assert [g.item() for g in found] == [3.0, 0.0]
    with pytest.raises(at.GradError, match="does not require one"):
        at.autograd.grad(x * 2, at.tensor(1.0))


def test_grad_with_respect_to_a_result_on_the_way() -> None:
    x = at.tensor(2.0, requires_grad=True)
    y = x * 3
    z = y * y
    assert at.autograd.grad(z, (y, x))[0].item() == 12.0


def test_backward_into_chosen_inputs_only() -> None:
    x, y = at.tensor(2.0, requires_grad=True), at.tensor(3.0, requires_grad=True)
    (x * y).backward(inputs=[x])
    assert x.grad.item() == 3.0
    assert y.grad is None


def test_gradients_returns_pairs_in_order_of_making() -> None:
    w, b = at.tensor(2.0, requires_grad=True), at.tensor(1.0, requires_grad=True)
    pairs = (b * 3 + w * w).gradients()
    assert [(g.item(), p is q) for (g, p), q in zip(pairs, (w, b), strict=True)] == [
        (4.0, True),
        (3.0, True),
    ]
    assert w.grad is None
    assert b.grad is None


def test_several_roots_in_one_walk() -> None:
    x = at.tensor(2.0, requires_grad=True)
    y = x * x
    at.autograd.backward([y, y * 3])
    assert x.grad.item() == 16.0


def test_no_grad_enable_grad_and_the_setting() -> None:
    x = at.tensor(1.0, requires_grad=True)
    with at.no_grad():
        assert not (x * 2).requires_grad
        with at.enable_grad():
            assert (x * 2).requires_grad
        assert not at.is_grad_enabled()
    assert (x * 2).requires_grad

    @at.no_grad()
    def evaluate() -> at.Tensor:
        return x * 2

    assert not evaluate().requires_grad
    with at.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    at.set_grad_enabled(False)
    assert not (x * 2).requires_grad
    at.set_grad_enabled(True)


def test_detach_and_leaf_rules() -> None:
    x = at.tensor([1.0], requires_grad=True)
    y = x * 2
    assert not y.detach().requires_grad
    assert x.is_leaf
    assert not y.is_leaf
    assert y.grad_fn.name == "MulBackward"
    assert x.grad_fn is None
    with pytest.raises(at.GradError, match="cannot be cleared on a result"):
        y.requires_grad_(False)
    with pytest.raises(at.GradError, match="only floating Tensors can require a gradient"):
        at.tensor([1, 2], requires_grad=True)


def test_retain_grad_collects_on_a_result() -> None:
    x = at.tensor(2.0, requires_grad=True)
    y = x * 3
    y.retain_grad()
    (y * y).backward()
    assert y.grad.item() == 12.0
    assert x.grad.item() == 36.0


def test_hooks_see_and_replace_gradients() -> None:
    x = at.tensor(2.0, requires_grad=True)
    y = x * 3
    seen = []
    handle = y.register_hook(lambda g: seen.append(g.item()))
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: seen.append(g.item()))
    (y * y).backward()
    assert seen == [12.0, 360.0]
    assert x.grad.item() == 360.0
    handle.remove()
    handle.remove()


def test_an_error_in_a_hook_leaves_every_grad_as_it_was() -> None:
    x, w = at.tensor(2.0, requires_grad=True), at.tensor(2.0, requires_grad=True)

    def refuse(g: at.Tensor) -> None:
        raise KeyError("refused")

    h = x * 1
    h.register_hook(refuse)
    with pytest.raises(KeyError):
        (h * w).backward()
    assert x.grad is None
    assert w.grad is None


def test_next_functions_and_saved_tensors_show_the_graph() -> None:
    x = at.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).exp().sum()
    exp = y.grad_fn.next_functions[0][0]
    assert exp.name == "ExpBackward"
    assert [list(a) for a in exp.saved_tensors] == [(x.detach() ** 2).exp().tolist()]
    leaf = exp.next_functions[0][0].next_functions[0][0]
    assert leaf.name == "AccumulateGrad"
    assert leaf.variable is x


def test_only_what_the_rule_reads_is_saved() -> None:
    x, w = at.ones(3, requires_grad=True), at.ones(3)
    assert (x + w).grad_fn.saved == ()
    assert (x * w).grad_fn.saved_tensors[0] is w.array
    assert len((x * x).grad_fn.saved) == 2


# -- in-place code --------------------------------------------------------------------------------


def test_in_place_code_has_the_right_gradient(backend: str) -> None:
    x = at.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    z = y * y
    y += 1  # what z saved is untouched
    y[0] = x[1] * 5
    (z.sum() + (y * at.tensor([1.0, 10.0, 100.0])).sum()).backward()
    # dz/dx = 8x; y = (5x₁, 2x₁ + 1, 2x₂ + 1)
    assert x.grad.tolist() == [8.0, 16.0 + 5 + 20, 24.0 + 200]


def test_assignment_into_zeros_is_recorded(backend: str) -> None:
    x = at.tensor([1.0, 2.0], requires_grad=True)
    out = at.zeros(2)
    for i in range(2):
        out[i] = x[i] ** 2
    out.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_updating_a_leaf_is_not_recorded_and_keeps_it_a_leaf() -> None:
    p = at.tensor([1.0, 2.0], requires_grad=True)
    (p * p).sum().backward()
    before = p.detach()
    p -= 0.5 * p.grad
    assert p.tolist() == [0.0, 0.0]
    assert before.tolist() == [1.0, 2.0]
    assert p.is_leaf
    p[0] = 7.0
    assert p.tolist() == [7.0, 0.0]
    w = at.tensor([1.0, 1.0], requires_grad=True)
    with pytest.raises(at.GradError, match="in-place update of a leaf is not recorded"):
        p += w
    assert p.tolist() == [7.0, 0.0]


def test_in_place_update_must_fit() -> None:
    x = at.ones(3)
    with pytest.raises(at.ShapeError, match=r"the Tensor has shape \(3,\), the new value \(2, 3\)"):
        x += at.ones(2, 3)
    i = at.tensor([1, 2])
    with pytest.raises(at.DTypeError, match="the Tensor is int64, the new value float"):
        i += 0.5
    assert i.tolist() == [1, 2]


def test_no_two_tensors_share_memory_that_can_change() -> None:
    numpy = pytest.importorskip("numpy", reason="NumPy's arrays are what could be shared")
    source = numpy.ones(3, "float32")
    x = at.tensor(source)
    source[0] = 5
    assert x.tolist() == [1.0, 1.0, 1.0]
    x.numpy()[0] = 9
    assert x.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        numpy.asarray(x)[0] = 9
    y = at.tensor([1.0, 2.0], requires_grad=True)
    factor = numpy.array([3.0, 3.0], "float32")
    z = (y * factor).sum()
    factor[:] = 0
    z.backward()
    assert y.grad.tolist() == [3.0, 3.0]


# -- copies ---------------------------------------------------------------------------------------


def test_copy_deepcopy_and_pickle(backend: str) -> None:
    x = at.tensor([[1.5, 2.0]], requires_grad=True)
    (x * x).sum().backward()
    for twin in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin is not x
        assert twin.tolist() == x.tolist()
        assert twin.requires_grad
        assert twin.dtype is x.dtype
        assert twin.backend.name == backend
    assert copy.deepcopy(x).grad.tolist() == x.grad.tolist()
    for function in (copy.deepcopy, pickle.dumps):
        with pytest.raises(at.GradError, match="only leaves can be"):
            function(x * 2)


# -- errors


def test_shape_mismatch_names_shapes_operation_and_line() -> None:
    a, b = at.ones(3, 4), at.ones(2, 4)
    with pytest.raises(at.ShapeError) as error:
        a + b
    text = str(error.value)
    assert "add: shapes (3, 4) and (2, 4) do not broadcast" in text
    assert "test_autograd.py" in text
    assert "a + b" in text
    with pytest.raises(at.ShapeError, match=r"matmul: shapes \(3, 4\) and \(3, 4\) do not fit"):
        a @ a


def test_mixing_backends_says_how_to_convert() -> None:
    pytest.importorskip("numpy", reason="mixing needs a second backend")
    a = at.ones(2)
    with at.use("python"):
        b = at.ones(2)
    with pytest.raises(at.BackendError, match=r"two backends met, .*at\.asarray\(x, backend="):
        a + b
    assert (a.to("python") + b).tolist() == [2.0, 2.0]


def test_a_copy_under_no_grad_is_no_part_of_the_source(backend: str) -> None:
    source = at.ones(3).requires_grad_()
    target = at.zeros(3)
    with at.no_grad():
        target.copy_(source)
    assert not target.requires_grad
    assert target.tolist() == [1.0, 1.0, 1.0]


def test_a_tensor_goes_to_a_backend_by_asarray(backend: str) -> None:
    t = at.tensor([1.0, 2.0])
    assert at.asarray(t, backend="python").backend.name == "python"
