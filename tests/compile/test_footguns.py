"""Ten programs that a compiler can get wrong: each is equal to eager, or a clear error."""

import copy
import math

import pytest

import atled as at
from atled.nn import functional as F
from atled.testing import assert_close

np = pytest.importorskip("numpy", reason="programs run on NumPy's arrays")
pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")
pytestmark = pytest.mark.usefixtures("executor")


def network() -> at.nn.Module:
    at.manual_seed(0)
    return at.nn.Sequential(at.nn.Linear(3, 4), at.nn.Tanh(), at.nn.Linear(4, 2))


def train(model, optimizer):
    def step(x, y):
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


def both(make=lambda p: at.optim.Adam(p, lr=0.05)):
    """Return two equal models with their optimizers and steps: eager, and compiled."""
    models = [network(), network()]
    optimizers = [make(m.parameters()) for m in models]
    steps = [train(m, o) for m, o in zip(models, optimizers, strict=True)]
    return models, optimizers, [steps[0], at.compile(steps[1])]


def batch(n: int, size: int = 5):
    g = at.Generator(n)
    return at.randn(size, 3, generator=g), at.randn(size, 2, generator=g)


def assert_same(ours, theirs) -> None:
    assert_close(list(ours.parameters()), list(theirs.parameters()))


def test_state_is_not_stale():
    models, _, (eager, compiled) = both()
    for n in range(5):
        assert_close(compiled(*batch(n)), eager(*batch(n)))
        assert_same(*models)
    with at.no_grad():  # also what is done to it between calls
        for m in models:
            for p in m.parameters():
                p.mul_(0.5)
    assert_close(compiled(*batch(9)), eager(*batch(9)))
    assert_same(*models)
    assert compiled.stats().traces == 1


def test_a_counter_is_not_frozen():
    class Counting(at.nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    model = Counting()
    with pytest.raises(at.TraceError, match=r"Counting.calls changed from 0 to 1.*copy_"):
        at.compile(model)(at.ones(2))
    assert model.calls == 0
    count = at.zeros(())

    @at.compile
    def counted(x):
        count.add_(1)
        return x * count

    assert [counted(at.ones(())).item() for _ in range(3)] == [1.0, 2.0, 3.0]
    assert count.item() == 3.0


def test_the_learning_rate_may_change_between_calls():
    models, optimizers, (eager, compiled) = both()
    schedules = [at.optim.lr_scheduler.CosineAnnealingLR(o, 4) for o in optimizers]
    for n in range(6):
        assert_close(compiled(*batch(n)), eager(*batch(n)))
        assert_same(*models)
        for schedule in schedules:
            schedule.step()
        if n == 3:
            for o in optimizers:
                o.param_groups[0]["lr"] = 0.5
    assert compiled.stats().traces == 1


def test_a_branch_on_a_value_is_an_error():
    @at.compile
    def branch(x):
        if x.sum() > 0:
            return x
        return -x

    with pytest.raises(at.TraceError) as caught:
        branch(at.ones(3))
    text = str(caught.value)
    assert "at.where(condition, a, b)" in text
    assert "test_footguns.py" in text
    assert "if x.sum() > 0:" in text


def test_a_new_batch_size_at_the_end_of_an_epoch():
    models, _, (eager, compiled) = both()
    for _ in range(3):
        for n, size in enumerate((5, 5, 2)):
            assert_close(compiled(*batch(n, size)), eager(*batch(n, size)))
    assert_same(*models)
    assert compiled.stats().traces == 2


def test_two_models_share_a_parameter():
    def make():
        at.manual_seed(1)
        a, b = at.nn.Linear(3, 3), at.nn.Linear(3, 3)
        b.weight = a.weight
        parameters = [a.weight, a.bias, b.bias]
        optimizer = at.optim.SGD(parameters, lr=0.1, momentum=0.9)

        def step(x):
            b(at.tanh(a(x))).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()

        return step, parameters

    (eager, ours), (step, theirs) = make(), make()
    compiled = at.compile(step)
    for n in range(4):
        eager(batch(n)[0])
        compiled(batch(n)[0])
        assert_close(ours, theirs)


def test_a_parameter_replaced_between_calls():
    model = at.nn.Linear(3, 2)
    compiled = at.compile(lambda x: model(x))
    x = batch(0)[0]
    assert_close(compiled(x), model(x))
    model.weight.data = at.zeros(2, 3)  # another value: the same program
    assert_close(compiled(x), model(x))
    assert compiled.stats().traces == 1
    model.weight = at.nn.Parameter(at.ones(2, 3))  # another Tensor: another program
    assert_close(compiled(x), model(x))
    model.bias = None
    assert_close(compiled(x), model(x))
    assert compiled.stats().traces == 3


def test_a_captured_numpy_array_changes():
    table = np.ones(3, np.float32)

    @at.compile
    def scaled(x):
        return x * table

    assert scaled(at.ones(3)).tolist() == [1.0, 1.0, 1.0]
    table[1] = 5
    assert scaled(at.ones(3)).tolist() == [1.0, 5.0, 1.0]
    assert scaled.stats().traces == 1
    strided = np.ones(6, np.float32)[::2]
    other = at.compile(lambda x: x * strided)
    assert other(at.ones(3)).tolist() == [1.0, 1.0, 1.0]
    strided[0] = 4
    assert other(at.ones(3)).tolist() == [4.0, 1.0, 1.0]
    table = np.full(3, 7, np.float32)
    assert scaled(at.ones(3)).tolist() == [7.0, 7.0, 7.0]


def test_arrays_made_inside_are_refused():
    @at.compile
    def noisy(x):
        return x + np.random.default_rng().standard_normal(3)

    with pytest.raises(at.TraceError, match="made by numpy while a compiled function is traced"):
        noisy(at.ones(3))


@pytest.mark.parametrize("counter", [0, 2**32 - 7, 2**40])
def test_dropout_draws_what_eager_draws(counter):
    model = at.nn.Sequential(at.nn.Dropout(0.5), at.nn.Dropout1d(0.3))
    compiled = at.compile(lambda x: (model(x), at.randn(3), at.randint(9, (4,)), at.randperm(5)))
    x = at.ones(2, 3, 4)
    drawn = []
    for function in (compiled, compiled.__wrapped__):
        at.set_rng_state({"seed": 2**63 + 11, "counter": counter})
        drawn.append([function(x) for _ in range(3)])
        drawn[-1].append(at.get_rng_state()["counter"])
    assert_close(drawn[0], drawn[1])
    assert compiled.stats().traces == 1


def test_an_exception_in_mid_trace_leaves_everything_as_it_was():
    model, seen = network(), []
    optimizer = at.optim.Adam(model.parameters())
    running = at.zeros(2)

    @at.compile
    def step(x, y):
        F.mse_loss(model(x), y).backward()
        optimizer.step()
        running.add_(1)
        at.rand(3)
        seen.append(1)
        raise KeyError("boom")

    before = copy.deepcopy(model.state_dict())
    state = at.get_rng_state()
    with pytest.raises(KeyError, match="boom"):
        step(*batch(0))
    assert_close(model.state_dict(), before)
    assert optimizer.state_dict()["state"] == {}
    assert all(p.grad is None for p in model.parameters())
    assert running.tolist() == [0.0, 0.0]
    assert seen == []
    assert at.get_rng_state() == state
    assert isinstance(running.array, np.ndarray)


def test_an_exception_while_running_leaves_everything_as_it_was():
    table = at.nn.Embedding(5, 3)
    optimizers = [at.optim.SGD(table.parameters(), lr=0.1), at.optim.Adam(table.parameters())]

    @at.compile
    def step(places):
        loss = table(places).sum()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        return loss

    before = table.weight.tolist()
    for _ in range(2):
        with pytest.raises(at.IndexingError, match="out of range for size 5"):
            step(at.tensor([1, 9]))
        assert table.weight.tolist() == before
        assert table.weight.grad is None
        assert optimizers[1].state_dict()["state"] == {}
    step(at.tensor([1, 2]))
    changed = table.weight.tolist()
    assert changed != before
    table.weight.grad = None
    with pytest.raises(at.IndexingError):
        step(at.tensor([1, 9]))
    assert table.weight.tolist() == changed
    assert math.isclose(optimizers[1].state_dict()["state"][0]["step"], 1)


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (float, "a value"),
        (bool, "a value"),
        (lambda t: t.item(), "a value"),
        (lambda t: t.tolist(), "a value"),
        (lambda t: t.numpy(), "a NumPy array"),
        (lambda t: np.asarray(t), "a NumPy array"),
        (lambda t: f"{t:.2f}", "a value"),
        (lambda t: range(10)[t.astype("int64")], "a value"),
    ],
)
def test_reading_a_value_is_an_error_with_the_line(read, what):
    compiled = at.compile(lambda x: read(x.sum()))
    with pytest.raises(at.TraceError, match=rf"^{what} was asked for .*\n  at .*test_footguns.py"):
        compiled(at.ones(3))
    captured = at.ones(())
    with pytest.raises(at.TraceError, match=f"^{what} was asked for"):
        at.compile(lambda: read(captured))()


def test_a_mask_as_index_is_an_error_that_names_where():
    with pytest.raises(at.TraceError, match=r"fixed shapes. Use at.where\(mask, x, other\)"):
        at.compile(lambda x: x[x > 0])(at.ones(3))


def test_printing_shows_shape_and_dtype(capsys):
    @at.compile
    def shown(x):
        print(x, x.shape)
        return x

    shown(at.ones(2, 3))
    assert capsys.readouterr().out == "tensor(<traced float32[2, 3]>) (2, 3)\n"
