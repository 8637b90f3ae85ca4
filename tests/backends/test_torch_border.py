"""What crosses the border of the torch backend: data, dtypes, devices, refusals."""

import array
import subprocess
import sys
from types import SimpleNamespace

import pytest

np = pytest.importorskip("numpy", reason="the torch backend is compared with NumPy")
torch = pytest.importorskip("torch", reason="tests the torch backend")

import atled as at  # noqa: E402
from atled import dtypes as dt  # noqa: E402
from atled.backends.protocol import load, use  # noqa: E402
from atled.config import settings  # noqa: E402
from atled.errors import BackendError, DTypeError, ShapeError  # noqa: E402

xp = load("torch")


@pytest.fixture(autouse=True)
def restored():
    kept = settings.backend, settings.device, settings.default_dtype
    yield
    settings.backend, settings.device, settings.default_dtype = kept


def same(y, want):
    """Check value, shape and dtype of a new array, and that torch records nothing of it."""
    want = np.asarray(want)
    assert type(y) is torch.Tensor
    assert not y.requires_grad
    assert tuple(y.shape) == want.shape
    assert y.dtype == torch.from_numpy(want.reshape(-1)[:0].copy()).dtype
    np.testing.assert_array_equal(y.numpy(), want)


DATA = [
    (True, np.array(True)), (3, np.array(3)), (2.5, np.array(2.5, np.float32)),
    ([1, 2.5, True], np.array([1, 2.5, 1], np.float32)), ([True, 2], np.array([1, 2])),
    ([], np.zeros(0, np.float32)), ([[], []], np.zeros((2, 0), np.float32)),
    (((1, 2), [3, 4]), np.array([[1, 2], [3, 4]])), (range(3), np.arange(3)),
    ([np.float64(1), 2], np.array([1, 2], np.float32)), ([np.bool_(True)], np.array([True])),
    ([np.arange(2), np.ones(2)], np.array([[0, 1], [1, 1]], np.float32)),
    ([torch.ones(2), [0.0, 1.0]], np.array([[1, 1], [0, 1]], np.float32)),
    ([torch.nn.Parameter(torch.ones(())), 2], np.array([1, 2], np.float32)),
    (array.array("d", [1, 2]), np.array([1, 2], np.float32)),
    (np.float16(2), np.array(2, np.float16)), (np.arange(6.0)[::-2], np.array([5.0, 3, 1])),
    (np.arange(3, dtype=">i4"), np.arange(3, dtype=np.int32)),
    (np.broadcast_to(np.uint8(1), (2, 2)), np.ones((2, 2), np.uint8)),
]  # fmt: skip


@pytest.mark.parametrize(("data", "want"), DATA)
def test_asarray(data, want):
    same(xp.asarray(data), want)
    same(xp.asarray(data, dtype=dt.float64), want.astype(float))
    assert xp.tolist(xp.asarray(data)) == want.tolist()


def test_a_float_beyond_the_range_is_infinite_and_a_default_dtype_loses_nothing():
    same(xp.asarray([1e300, -1e300, 1]), np.array([np.inf, -np.inf, 1], np.float32))
    same(xp.asarray([2**70, 0.5]), np.array([2**70, 0.5], np.float32))
    settings.default_dtype = dt.float64
    same(xp.asarray([[0.1], [1e300]]), [[0.1], [1e300]])


def test_asarray_of_arrays_of_other_libraries():
    empty = SimpleNamespace(shape=(0, 3), dtype=dt.float64, tolist=list)
    same(xp.asarray(empty), np.zeros((0, 3)))
    plain = SimpleNamespace(shape=(2,), tolist=lambda: [1, 2])
    same(xp.asarray(plain), [1, 2])
    same(xp.asarray(plain, dtype=dt.int8), np.array([1, 2], np.int8))
    same(xp.asarray(np.arange(3, dtype=np.uint32), dtype=dt.int64), np.arange(3))


def test_asarray_copies_and_detaches():
    parameter = torch.nn.Parameter(torch.ones(3))
    source = np.ones(3)
    for data in (parameter, parameter * 1, source, torch.ones(3)):
        x = xp.asarray(data)
        assert type(x) is torch.Tensor
        x += 1
        assert data[0] == 1


REFUSED = [
    ([[1, 2], [3]], ShapeError, "length 1 and length 2 side by side at depth 1"),
    ([[], [1]], ShapeError, "length 0 and length 1 side by side at depth 1"),
    ([[1, 2], 3], ShapeError, "a number and length 2 side by side at depth 1"),
    ([[[1]], [[2, 3]]], ShapeError, "length 1 and length 2 side by side at depth 2"),
    (["a"], DTypeError, r"numbers and booleans; found 'a' \(str\)"),
    ([1, None], DTypeError, "found None"), ({}, DTypeError, r"found {} \(dict\)"),
    (1j, DTypeError, "found 1j"), ([b"a"], DTypeError, "found b'a'"),
    ([2**70], DTypeError, "does not fit int64"),
    (np.array(["a"]), DTypeError, "numpy arrays of dtype <U1"),
    (np.array([1j]), DTypeError, "does not compute in torch.complex128; it has bool"),
    (np.array([1], np.uint32), DTypeError, "does not compute in torch.uint32"),
    (torch.tensor([1j]), DTypeError, "does not compute in torch.complex64"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "error", "text"), REFUSED)
def test_asarray_refuses(data, error, text):
    with pytest.raises(error, match=text):
        xp.asarray(data)


def test_asarray_refuses_what_a_dtype_cannot_hold():
    with pytest.raises(DTypeError, match="does not fit uint8"):
        xp.asarray([300], dtype=dt.uint8)
    with pytest.raises(DTypeError, match="does not fit int64"):
        xp.asarray([float("nan")], dtype=dt.int64)
    with pytest.raises(DTypeError, match=r"does not compute in torch.complex64"):
        xp.asarray(torch.tensor([1j]), dtype=dt.float32)


def test_to_numpy():
    x = torch.ones(3)
    view = xp.to_numpy(x)
    x += 1
    assert view.tolist() == [2, 2, 2]
    with pytest.raises(DTypeError, match=r"no bfloat16; cast with .astype\(float32\)"):
        xp.to_numpy(x.to(torch.bfloat16))


def test_the_facts():
    facts = xp.describe()
    assert facts["version"] == torch.__version__
    assert facts["devices"].startswith("cpu")
    assert set(facts) == {"version", "devices", "threads", "BLAS"}
    assert xp.device_of(torch.ones(1)) == "cpu"
    assert xp.dtype_of(torch.ones(1, dtype=torch.bfloat16)) is dt.bfloat16


MACHINES = [
    (0, False, "cpu"), (2, False, "cuda:0"), (0, True, "mps:0"), (1, True, "cuda:0")
]  # fmt: skip


@pytest.mark.parametrize(("cuda", "mps", "auto"), MACHINES)
def test_devices_by_name(monkeypatch, cuda, mps, auto):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: cuda - 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert xp.check_device(None) is None
    assert xp.check_device("auto") == auto
    assert xp.check_device("cpu") == xp.check_device(torch.device("cpu")) == "cpu"
    there = ["cpu", *[f"cuda:{i}" for i in range(cuda)], *(["mps:0"] if mps else [])]
    for device in ("cuda", "mps"):
        if any(d.startswith(device) for d in there):
            assert xp.check_device(device) == there[-1 if device == "mps" else cuda]
        else:
            text = f"no device '{device}' on this machine; it finds {', '.join(there)}"
            with pytest.raises(BackendError, match=text):
                xp.check_device(device)
    for device in ("cuda:7", "meta", "gpu", "cpu:1"):
        with pytest.raises(BackendError, match=f"no device '{device}'"):
            xp.check_device(device)


def test_new_arrays_lie_where_the_settings_say():
    settings.device = "meta"  # every torch has it, no backend offers it
    settings.backend = "numpy"
    assert xp.device_of(xp.zeros((1,))) == "cpu"
    settings.backend = "torch"
    for x in (xp.zeros((1,)), xp.ones((1,)), xp.full((1,), 2), xp.arange(3), xp.asarray([1.0])):
        assert xp.device_of(x) == "meta"
    assert xp.device_of(xp.zeros((1,), device="cpu")) == "cpu"
    assert xp.device_of(xp.asarray(torch.ones(1))) == "cpu"
    assert xp.device_of(xp.zeros_like(torch.ones(1))) == "cpu"
    assert xp.to_device(x, None) is x
    with use("torch"):
        assert xp.device_of(xp.zeros((1,))) == "cpu"


@pytest.mark.slow
def test_without_numpy():
    """torch works without NumPy, and so does the backend: no warning, a clear refusal."""
    code = """
import sys
sys.modules["numpy"] = None
from atled.backends.protocol import load
from atled.errors import BackendError
xp = load("torch")
x = xp.asarray([[1, 2.5], [3, 4]])
assert xp.tolist(xp.matmul(x, x)) == [[8.5, 12.5], [15.0, 23.5]]
try:
    xp.to_numpy(x)
except BackendError as error:
    print(error)
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "cannot hand an array to NumPy" in done.stdout


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_over_one_axis_is_torchs_fused_kernel(name, monkeypatch):
    """The public functions hand over a tuple of axes; one axis alone must reach the kernel."""
    calls = []
    kernel = getattr(torch, name)
    monkeypatch.setattr(torch, name, lambda x, axis: calls.append(axis) or kernel(x, axis))
    with at.use("torch"):
        getattr(at, name)(at.ones(2, 3), axis=-1)
    assert calls == [1]
