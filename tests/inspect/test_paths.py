"""why_no_grad: each way in which a gradient can go missing has its own answer."""

import pytest

import atled as at
from atled.inspect import Explanation, why_no_grad

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture
def w():
    return at.tensor([1.0, 2.0], dtype=at.float64, requires_grad=True)


@pytest.fixture
def u():
    return at.tensor([3.0, 4.0], dtype=at.float64, requires_grad=True)


def test_it_prints_as_it_reads(w):
    why = why_no_grad(w.sum(), w)
    assert isinstance(why, Explanation)
    assert repr(why) == str(why) == f"{why}"


def test_what_is_no_tensor_is_refused(w):
    with pytest.raises(TypeError, match="loss must be an atled Tensor; found float"):
        why_no_grad(1.0, w)
    with pytest.raises(TypeError, match="w must be an atled Tensor; found list"):
        why_no_grad(w, [1.0])


# -- w itself -------------------------------------------------------------------------------------


def test_w_does_not_require_a_gradient(w):
    c = at.tensor([1.0, 2.0])
    assert "w does not require a gradient. Call w.requires_grad_()" in why_no_grad((w * c).sum(), c)


def test_w_is_an_integer(w):
    n = at.tensor([1, 2])
    assert "w is int64: only floating Tensors have gradients" in why_no_grad((w * n).sum(), n)


def test_w_is_a_constant_cut_from_a_graph(w):
    h = (w * 2.0).detach()
    why = why_no_grad((h * w).sum(), h)
    assert "a constant made where detach() was called\n  at " in why
    assert "test_paths.py" in why
    assert "h = (w * 2.0).detach()" in why


# -- the path is there ----------------------------------------------------------------------------


def test_a_path_and_no_backward(w):
    why = why_no_grad((w * 2.0).sum(), w)
    assert "A path leads from w to the loss. w.grad is None because backward() has not" in why


def test_a_path_and_a_gradient(w):
    loss = (w * 2.0).sum()
    loss.backward(retain_graph=True)
    assert "and w.grad is there, of shape (2,)" in why_no_grad(loss, w)


def test_a_result_keeps_no_gradient(w):
    h = w * 2.0
    assert "w is a result, not a leaf" in why_no_grad(h.sum(), h)
    assert "retain_grad()" in why_no_grad(h.sum(), h)


def test_the_loss_itself():
    x = at.tensor(1.0, requires_grad=True)
    assert "w is the loss itself" in why_no_grad(x, x)


def test_a_freed_graph(w):
    loss = (w * 2.0).sum()
    loss.backward()
    why = why_no_grad(loss, w)
    assert "The graph of the loss was freed by an earlier backward pass, and w has a .grad" in why
    assert "retain_graph=True" in why


# -- the loss has no graph ------------------------------------------------------------------------


def test_a_loss_of_constants(w):
    assert "nothing that it was computed from required a gradient" in why_no_grad(at.tensor(1.0), w)


def test_no_grad(w):
    with at.no_grad():
        loss = (w * 2.0).sum()
    why = why_no_grad(loss, w)
    assert "the path ends where multiply ran under no_grad\n  at " in why
    assert "loss = (w * 2.0).sum()" in why
    assert "compute it outside no_grad" in why


def test_detach_alone(w):
    h = w * 2.0
    loss = h.detach().sum()
    why = why_no_grad(loss, w)
    assert "the path ends where detach() was called" in why
    assert "loss = h.detach().sum()" in why
    assert "leave detach() out" in why


def test_detach_of_what_is_gone(w):
    loss = (w * 2.0).detach().sum()
    why = why_no_grad(loss, w)
    assert "The loss has no graph: it was computed from a constant made where detach()" in why
    assert "What lay before that is not alive any more" in why
    assert "leave detach() out" in why


def test_argmax(w):
    loss = w.argmax() * 1.0
    why = why_no_grad(loss, w)
    assert "the path ends where argmax has no derivative" in why
    assert "loss = w.argmax() * 1.0" in why
    assert "use an operation that has a derivative" in why


# -- the graph of the loss leads elsewhere --------------------------------------------------------


def test_a_detached_factor(w, u):
    h = w.sin()
    loss = (h.detach() * u).sum()
    why = why_no_grad(loss, w)
    assert "the path ends where detach() was called" in why
    assert "loss = (h.detach() * u).sum()" in why
    assert "its result was a constant to multiply (result of shape (2,))" in why
    assert "A path leads" in why_no_grad(loss, u)


def test_two_stops_on_one_way(w, u):
    h = w.sin()
    k = u * h.detach()
    with at.no_grad():
        m = k * 2.0
    why = why_no_grad((m * u).sum(), w)
    first, second = why.index("multiply ran under no_grad"), why.index("detach() was called")
    assert first < second
    assert "and, further back, where detach()" in why


def test_the_shorter_of_two_ways_is_told(w, u):
    h = w.sin()
    k = h.detach() * u
    loss = (k.detach() * u + w.detach() * u).sum()
    why = why_no_grad(loss, w)
    assert why.count("detach() was called") == 1


def test_an_unused_tensor(w, u):
    why = why_no_grad((u * u).sum(), w)
    assert "w (shape (2,)) is not used in computing the loss" in why
    assert "depends on 1 other leaf of shape (2,); one of them has the shape of w" in why


def test_many_other_leaves_are_listed_in_short(w):
    others = [at.tensor([1.0] * n, requires_grad=True) for n in range(3, 10)]
    loss = sum(o.sum() for o in others)
    why = why_no_grad(loss, w)
    assert "7 other leaves of shape (3,), (4,), (5,), (6,), (7,), …." in why


def test_requires_grad_too_late(u):
    w = at.tensor([1.0, 2.0], dtype=at.float64)
    loss = (w * u).sum()
    w.requires_grad_()
    assert "w began to require a gradient after the loss was computed" in why_no_grad(loss, w)


def test_an_update_in_place_after_the_loss(w):
    h = w * 2.0
    loss = h.sum()
    h += 1.0
    why = why_no_grad(loss, h)
    assert "The present value of w was made after the loss was computed" in why


def test_an_update_in_place_before_the_loss(w):
    h = w * 2.0
    k = h.sin()
    h += 1.0
    loss = k.sum()
    why = why_no_grad(loss, h)
    assert "one that w was computed from: if w was updated in place" in why


def test_a_long_way_does_not_recurse(w, u):
    h = w
    for _ in range(20_000):
        h = h + 0.0
    assert "detach() was called" in why_no_grad((h.detach() * u).sum(), w)
