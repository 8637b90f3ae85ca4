"""What is handed out and collected: no Tensor shared, nothing half done, bad gradients refused."""

import copy

import pytest

import atled as at
from atled.core.tensor import Stop


def leaf(*values: float) -> at.Tensor:
    return at.tensor(list(values), requires_grad=True)


def test_leaves_never_share_one_grad() -> None:
    for create_graph in (False, True):
        a, b = leaf(1.0), leaf(2.0)
        given = at.ones(1)
        (a + b).backward(given, create_graph=create_graph)
        assert a.grad is not b.grad
        a.grad.zero_()
        assert b.grad.tolist() == [1.0]
        assert given.tolist() == [1.0]


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_hook_that_writes_changes_no_other_branch(create_graph: bool) -> None:
    a, b = leaf(1.0), leaf(2.0)
    a.register_hook(lambda g: g.mul_(3.0))
    (a + b).sum().backward(create_graph=create_graph)
    assert (a.grad.item(), b.grad.item()) == (3.0, 1.0)


def test_a_removed_hook_does_not_run() -> None:
    x = leaf(1.0)
    y = x * 2
    seen = []
    handle = y.register_hook(lambda g: seen.append("first"))
    once = y.register_hook(lambda g: (seen.append("once"), once.remove())[0])
    y.register_hook(lambda g: seen.append("last"))
    y.retain_grad()
    handle.remove()
    y.backward(retain_graph=True)
    y.backward()
    assert seen == ["once", "last", "last"]
    assert y.grad.tolist() == [2.0]


def test_retain_grad_collects_what_hooks_made_of_it() -> None:
    x = leaf(1.0)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    y.backward()
    assert (y.grad.tolist(), x.grad.tolist()) == ([10.0], [20.0])


def test_an_error_after_a_retained_result_leaves_its_grad() -> None:
    class Refuses(at.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            raise KeyError("refused")

    x = leaf(1.0)
    y = Refuses.apply(x) * 2
    y.retain_grad()
    with pytest.raises(KeyError):
        y.backward()
    assert y.grad is None


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (5, TypeError, "must be a Tensor or None; found int"),
        (at.ones(3), at.ShapeError, r"shape \(3,\) for a Tensor of shape \(2,\)"),
        (at.tensor([1, 2]), at.DTypeError, "is int64"),
    ],
)
def test_a_grad_that_does_not_fit_is_refused(given: object, error: type, text: str) -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(error, match=text):
        x.grad = given
    assert x.grad is None


@pytest.mark.parametrize(
    ("returned", "error"), [(at.ones(3, 2), at.ShapeError), ([1.0, 1.0], TypeError)]
)
def test_what_a_hook_returns_must_fit(returned: object, error: type) -> None:
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: returned)
    with pytest.raises(error, match="hook return"):
        (x * 2).sum().backward()
    assert x.grad is None


def test_data_writes_through_unrecorded() -> None:
    p = leaf(1.0, 2.0)
    p.data.fill_(0.0)
    assert p.tolist() == [0.0, 0.0]
    p.data[0] = 7.0
    p.data.copy_([1.0, 3.0])
    p.data -= 0.5
    p.data = p.data * 2
    assert p.tolist() == [1.0, 5.0]
    assert p.is_leaf
    assert p.requires_grad
    with pytest.raises(at.DTypeError, match=r"\.data of a float\d+ Tensor was set to int64"):
        p.data = at.tensor([1, 2])


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x[0].fill_(5.0),
        lambda x: x[0].__setitem__(1, 5.0),
        lambda x: x.T.zero_(),
        lambda x: x.detach().mul_(2.0),
        lambda x: [row.copy_(1.0) for row in x],
    ],
)
def test_writing_into_a_part_is_refused(write) -> None:
    x = at.ones(2, 2)
    with pytest.raises(at.GradError, match=r"would not change the Tensor that it was read from"):
        write(x)
    x[0] += 1.0
    x[1].clone().fill_(9.0)
    assert x.tolist() == [[2.0, 2.0], [1.0, 1.0]]


def test_copy_of_a_result_keeps_its_path() -> None:
    x = leaf(2.0)
    copy.copy(x * 3).sum().backward()
    assert x.grad.tolist() == [3.0]


def test_grad_frees_only_what_it_walked() -> None:
    w, v = leaf(2.0), leaf(3.0)
    h = w * v
    k = v * 5
    loss = (h * k).sum()
    assert at.autograd.grad(loss, [w])[0].item() == 45.0
    k.sum().backward()
    assert v.grad.item() == 5.0


def test_dlpack_hands_out_a_copy() -> None:
    numpy = pytest.importorskip("numpy", reason="NumPy reads DLPack")
    t = at.tensor([1.0, 2.0])
    numpy.from_dlpack(t)[0] = 9.0
    assert t.tolist() == [1.0, 2.0]


def test_no_warning_in_any_walk() -> None:
    x = leaf(0.0)
    y = at.sqrt(x)
    y.sum().backward(create_graph=True)
    assert x.grad.tolist() == [at.inf]
    with at.no_grad():
        (t,) = at.autograd.jvp_of([y], [x], [at.ones(1)], create_graph=True)
    assert t.requires_grad


def test_a_function_of_another_dtype_is_cast_back() -> None:
    class Wide(at.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g.astype(at.float64)

    class Test(Wide):
        @staticmethod
        def forward(ctx, x):
            return x > 0

    x = leaf(1.0)
    Wide.apply(x).sum().backward()
    assert x.grad.dtype is x.dtype
    assert not Test.apply(x).requires_grad


def test_marks_of_cut_paths_stay_few() -> None:
    w, t = leaf(1.0), at.zeros(1)
    with at.no_grad():
        for _ in range(5000):
            t = t + w
    assert t._stop.length <= Stop.LONGEST
    assert "no_grad" in at.inspect.why_no_grad(t, w)


def test_no_grad_covers_generators_and_bare_decorators() -> None:
    x = leaf(1.0)

    @at.no_grad()
    def numbers():
        yield (x * 2).requires_grad
        yield (x * 3).requires_grad

    @at.no_grad
    def bare():
        return (x * 2).requires_grad

    assert list(numbers()) == [False, False]
    assert bare() is False
    assert at.is_grad_enabled()


def test_weak_operands_keep_the_tensors_dtype() -> None:
    numpy = pytest.importorskip("numpy", reason="NumPy's scalars are tested")
    x = at.tensor([1.0, 2.0])
    assert (x * 2.5).dtype is at.float32
    assert (x / numpy.sqrt(64)).dtype is at.float32
    assert (at.tensor([1, 2]) * 2.5).dtype is at.float32
    assert (at.tensor([1, 2]) + 1).dtype is at.int64
    wide = at.tensor([1.0], dtype=at.float64)
    assert at.add(wide, [0.1]).tolist() == [1.1]


def test_each_row_of_a_leaf_may_be_walked_by_itself() -> None:
    x = at.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    for row in x:
        (row * row).sum().backward()
    assert x.grad.tolist() == [[2.0, 4.0], [6.0, 8.0]]
