"""The `python` backend: the Array, its operators, and the border. Nothing but Python needed."""

import copy
import sys
from array import array

import pytest

from atled.backends import protocol
from atled.backends.protocol import NAMED, REQUIRED, load
from atled.backends.python import Array, PythonBackend, backend
from atled.backends.python.array import FUNCTIONS
from atled.dtypes import bool_, float32, float64, int32, int64
from atled.errors import BackendError, DTypeError, IndexingError, ShapeError

xp = load("python")
NAN, INF = float("nan"), float("inf")


def same(x, expected, dtype=None):
    """Assert the nested lists (by repr: dtype, nan and the sign of zero count) of an Array."""
    assert isinstance(x, Array)
    assert repr(xp.tolist(x)) == repr(expected)
    if dtype is not None:
        assert x.dtype is dtype


# -- the namespace -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*REQUIRED, *NAMED} - {"erfinv", "polygamma"}))
def test_has_every_function_itself(name):
    assert callable(vars(PythonBackend).get(name))


def test_is_the_backend_that_protocol_loads():
    assert isinstance(backend(), PythonBackend)
    assert protocol.NAMESPACES[Array] is xp
    assert xp.native(float64) is float64
    assert xp.default_float is float64
    assert xp.dtype_of(xp.asarray([True])) is bool_
    assert xp.device_of(xp.asarray(1.0)) == "cpu"


def test_describe_names_the_interpreter():
    facts = xp.describe()
    assert facts["version"] == f"{sys.implementation.name} {sys.version.split()[0]}"
    assert facts["matrix product"] in ("math.sumprod", "sum(map(mul))")


def test_a_dtype_it_lacks_is_refused():
    with pytest.raises(DTypeError, match="python backend has no float32; it has bool, int64, fl"):
        xp.asarray([1.0], dtype=float32)
    with pytest.raises(DTypeError, match="has no int32"):
        xp.zeros((2,), dtype=int32)
    with pytest.raises(DTypeError, match="has no float32"):
        xp.astype(xp.asarray([1.0]), dtype=float32)
    with pytest.raises(DTypeError, match="has no int32"):
        xp.arange(3, dtype=int32)


@pytest.mark.parametrize("make", ["zeros", "ones"])
def test_another_device_is_refused(make):
    with pytest.raises(BackendError, match="computes on the cpu; found device='cuda'"):
        getattr(xp, make)((2,), device="cuda")
    same(getattr(xp, make)((1,), device="cpu"), [0.0 if make == "zeros" else 1.0])


# -- from and to Python --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "shape", "dtype"),
    [
        (1, (), int64),
        (1.5, (), float64),
        (True, (), bool_),
        ([], (0,), float64),
        ([[], []], (2, 0), float64),
        ([[[1]]], (1, 1, 1), int64),
        ([True, False], (2,), bool_),
        ([True, 2], (2,), int64),
        ([1, 2.5], (2,), float64),
        ([True, 0.5], (2,), float64),
        (((1, 2), [3, 4]), (2, 2), int64),
        (range(3), (3,), int64),
    ],
)
def test_asarray_takes_shape_and_dtype_from_the_elements(data, shape, dtype):
    x = xp.asarray(data)
    assert (x.shape, x.dtype, x.ndim, x.size) == (shape, dtype, len(shape), len(x.data))


def test_asarray_gives_the_dtype_asked_for():
    same(xp.asarray([1, 0], dtype=float64), [1.0, 0.0])
    same(xp.asarray([1.9, -1.9], dtype=int64), [1, -1])
    same(xp.asarray([2, 0], dtype=bool_), [True, False])
    same(xp.asarray([], dtype=int64), [], int64)
    same(xp.asarray(2**70, dtype=float64), float(2**70))


def test_asarray_copies():
    x = xp.asarray([1.0, 2.0])
    y = xp.asarray(x)
    assert y.data is not x.data
    same(y, [1.0, 2.0])
    storage = array("d", [1.0, 2.0])
    z = xp.asarray(storage)
    storage[0] = 9.0
    same(z, [1.0, 2.0])


def test_asarray_reads_arrays_inside_a_nest():
    row = xp.asarray([1.0, 2.0])
    same(xp.asarray([row, [3, 4], row[::-1]]), [[1.0, 2.0], [3.0, 4.0], [2.0, 1.0]])


class Foreign:
    """An array of a library that has no buffer."""

    def __init__(self, values, shape, dtype):
        self.values, self.shape, self.dtype = values, shape, dtype

    def tolist(self):
        return self.values


def test_asarray_reads_an_array_without_a_buffer():
    same(xp.asarray(Foreign([[1.5], [2.5]], (2, 1), "float32")), [[1.5], [2.5]], float64)
    same(xp.asarray(Foreign([1, 2], (2,), "uint8")), [1, 2], int64)
    x = xp.asarray(Foreign([[], []], (2, 0), "int32"))
    assert (x.shape, x.dtype) == ((2, 0), int64)


def test_asarray_refuses_a_ragged_nest_and_names_the_place():
    with pytest.raises(ShapeError, match=r"data\[0\] has length 2 but data\[1\] has length 1"):
        xp.asarray([[1, 2], [3]])
    with pytest.raises(ShapeError, match=r"data\[0\]\[0\] has length 1 but data\[1\]\[1\] is a nu"):
        xp.asarray([[[1], [1]], [[1], 2]])
    with pytest.raises(ShapeError, match=r"data\[0\] is a number but data\[1\] has length 0"):
        xp.asarray([1, []])


@pytest.mark.parametrize("bad", ["text", None, 1j, {1: 2}, b"12"])
def test_asarray_refuses_what_is_no_number(bad):
    with pytest.raises(DTypeError, match=r"an array holds numbers; data\[1\]\[0\] is .* of type"):
        xp.asarray([[1], [bad]])


def test_asarray_refuses_integers_beyond_int64():
    same(xp.asarray([2**63 - 1, -(2**63)]), [2**63 - 1, -(2**63)])
    with pytest.raises(DTypeError, match="an integer of 64 bits does not fit int64"):
        xp.asarray([2**63])
    with pytest.raises(DTypeError, match="an integer of 1329 bits does not fit float64"):
        xp.asarray([10**400, 1.5])


@pytest.mark.parametrize(
    "nest", [1.5, True, [], [[], []], [[1, 2], [3, 4]], [[[True], [False]]], [[[]], [[]]]]
)
def test_tolist_gives_back_the_nest(nest):
    assert xp.tolist(xp.asarray(nest)) == nest
    assert repr(xp.tolist(xp.asarray(nest))) == repr(nest)


def test_to_numpy_says_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("atled.backends.python.border.importlib.import_module", missing)
    with pytest.raises(BackendError, match=r"not installed; pip install 'atled\[standard\]'"):
        xp.to_numpy(xp.asarray([1.0]))


# -- making arrays -------------------------------------------------------------------------------


def test_constants():
    same(xp.zeros((2, 1)), [[0.0], [0.0]], float64)
    same(xp.ones(2, dtype=int64), [1, 1], int64)
    same(xp.ones((), dtype=bool_), True)
    same(xp.full((2,), 3), [3, 3], int64)
    same(xp.full((1,), True), [True])
    same(xp.full((1,), 2, dtype=float64), [2.0])
    same(xp.full((1,), 2**70, dtype=float64), [2.0**70])
    same(xp.full((2,), xp.asarray(1.5)), [1.5, 1.5])
    same(xp.zeros((2, 0, 3)), [[], []])
    same(xp.zeros_like(xp.asarray([1, 2])), [0, 0], int64)
    same(xp.ones_like(xp.asarray([1, 2]), dtype=float64), [1.0, 1.0])
    same(xp.full_like(xp.asarray([1.0]), 7), [7.0])
    with pytest.raises(ShapeError, match=r"full: shape \(2, -1\) has a negative length"):
        xp.zeros((2, -1))
    with pytest.raises(DTypeError, match="full: an integer of 71 bits does not fit int64"):
        xp.full((2,), 2**70)


def test_a_constant_is_like_any_other_array():
    x, y = xp.full((2, 3), 2.0), xp.asarray([[1.0], [2.0]])
    same(x + y, [[3.0, 3.0, 3.0], [4.0, 4.0, 4.0]])
    same(x * xp.ones((3,)), [[2.0] * 3] * 2)
    same(x @ xp.ones((3, 1)), [[6.0], [6.0]])
    same(xp.sum(x, axis=0), [4.0, 4.0, 4.0])
    same(x[1, ::2], [2.0, 2.0])
    same(xp.scatter_nd_add(x, 1.0, xp.asarray([1])), [[2.0] * 3, [3.0] * 3])


def test_arange():
    same(xp.arange(3), [0, 1, 2], int64)
    same(xp.arange(3, 0, -2), [3, 1])
    same(xp.arange(0.0, 1.0, 0.25), [0.0, 0.25, 0.5, 0.75], float64)
    same(xp.arange(2, dtype=float64), [0.0, 1.0])
    same(xp.arange(3, 1), [], int64)
    same(xp.arange(1.0, 0.0), [], float64)
    with pytest.raises(ShapeError, match="arange: the step from 0 to 3 must not be 0"):
        xp.arange(0, 3, 0)


# -- the Array -----------------------------------------------------------------------------------


def test_one_element_converts_to_a_scalar():
    assert float(xp.asarray([[2]])) == 2.0
    assert int(xp.asarray(2.7)) == 2
    assert bool(xp.asarray([0.0])) is False
    assert [10, 20][xp.asarray(1)] == 20
    assert xp.asarray([True]).item() is True
    for convert in (float, int, bool):
        with pytest.raises(ShapeError, match=r"only an array of one element .* shape \(2,\)"):
            convert(xp.asarray([1, 2]))
    with pytest.raises(DTypeError, match="float64 array cannot be an index"):
        [10, 20][xp.asarray(1.0)]


def test_length_and_iteration():
    x = xp.asarray([[1, 2], [3, 4]])
    assert len(x) == 2
    assert [r.tolist() for r in x] == [[1, 2], [3, 4]]
    with pytest.raises(ShapeError, match="0-d array has no length"):
        len(x[0, 0])
    with pytest.raises(ShapeError, match="0-d array cannot be iterated over"):
        iter(x[0, 0])


def test_repr_shows_small_arrays_and_the_shape_of_others():
    assert repr(xp.asarray([1.0])) == "Array([1.0], dtype=float64)"
    assert repr(xp.zeros((2, 0))) == "Array(shape=(2, 0), dtype=float64)"
    assert repr(xp.zeros((1001,))) == "Array(shape=(1001,), dtype=float64)"


def test_hash_is_identity():
    x, y = xp.asarray([1.0]), xp.asarray([1.0])
    assert len({x, y}) == 2
    assert (x == None) is False  # noqa: E711


def test_the_transpose_is_a_view():
    x = xp.asarray([[1, 2, 3]])
    assert x.mT.data is x.data
    same(x.mT, [[1], [2], [3]])
    with pytest.raises(ShapeError, match=r"\.mT needs at least two axes; found shape \(3,\)"):
        _ = x[0].mT


def test_copies_are_arrays():
    same(copy.deepcopy(xp.asarray([[1, 2], [3, 4]]).mT), [[1, 3], [2, 4]])


# -- operators -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("x + y", [3.0, 7.0]),
        ("x - y", [1.0, 1.0]),
        ("x * y", [2.0, 12.0]),
        ("x / y", [2.0, 4 / 3]),
        ("x ** y", [2.0, 64.0]),
        ("x ** 2", [4.0, 16.0]),
        ("x ** 3", [8.0, 64.0]),
        ("i ** 2", [25, 49]),
        ("i ** 2.0", [25.0, 49.0]),
        ("x // y", [2.0, 1.0]),
        ("x % y", [0.0, 1.0]),
        ("1 + x", [3.0, 5.0]),
        ("1 - x", [-1.0, -3.0]),
        ("3 * x", [6.0, 12.0]),
        ("1 / x", [0.5, 0.25]),
        ("2 ** x", [4.0, 16.0]),
        ("9 // x", [4.0, 2.0]),
        ("9 % x", [1.0, 1.0]),
        ("-x", [-2.0, -4.0]),
        ("+x", [2.0, 4.0]),
        ("abs(-x)", [2.0, 4.0]),
        ("x == y", [False, False]),
        ("x != 2", [False, True]),
        ("x < 3", [True, False]),
        ("x <= 2", [True, False]),
        ("3 < x", [False, True]),
        ("x >= 4", [False, True]),
        ("i & 6", [4, 6]),
        ("3 | i", [7, 7]),
        ("i ^ i", [0, 0]),
        ("~i", [-6, -8]),
        ("i << 1", [10, 14]),
        ("1 << i", [32, 128]),
        ("i >> 1", [2, 3]),
        ("1000 >> i", [31, 7]),
        ("p & ~p", [False, False]),
        ("p | True", [True, True]),
        ("p ^ q", [False, True]),
        ("p + q", [2, 1]),
        ("p * 0.5", [0.5, 0.0]),
        ("i + 0.5", [5.5, 7.5]),
        ("i + True", [6, 8]),
        ("i / i", [1.0, 1.0]),
        ("i * x", [10.0, 28.0]),
        ("m @ m", [[7, 10], [15, 22]]),
    ],
)
def test_operators(expression, expected):
    names = {"x": xp.asarray([2.0, 4.0]), "y": xp.asarray([1.0, 3.0]), "i": xp.asarray([5, 7])}
    names |= {"p": xp.asarray([True, False]), "q": xp.asarray([True, True])}
    names |= {"m": xp.asarray([[1, 2], [3, 4]])}
    before = {k: repr(v) for k, v in names.items()}
    same(eval(expression, names), expected)
    assert {k: repr(names[k]) for k in before} == before  # nothing is written into arguments


def test_operators_leave_other_types_to_python():
    x = xp.asarray([1.0])
    with pytest.raises(TypeError, match="unsupported operand"):
        x + "text"
    with pytest.raises(TypeError, match="unsupported operand"):
        [1] - x
    with pytest.raises(DTypeError, match="add: expected an array or a number; found str"):
        FUNCTIONS["add"](x, "text")


# -- basic indexing ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (0, [[0, 1, 2], [3, 4, 5]]),
        ((1, -1), [9, 10, 11]),
        ((1, 0, 2), 8),
        ((slice(None), 0, slice(None, None, -2)), [[2, 0], [8, 6]]),
        ((..., 1), [[1, 4], [7, 10]]),
        ((0, ..., slice(1, 2)), [[1], [4]]),
        ((None, 0, 0), [[0, 1, 2]]),
        ((0, 0, ..., None), [[0], [1], [2]]),
        ((0, 1, slice(5, 9)), []),
        (slice(1, 0), []),
        ((0, 0, slice(-2, None)), [1, 2]),
        (True, [[6, 7, 8], [9, 10, 11]]),
    ],
)
def test_basic_indexing_takes_views(key, expected):
    x = xp.reshape(xp.arange(12), shape=(2, 2, 3))
    assert x[key].data is x.data
    same(x[key], expected)


def test_indexing_errors():
    x = xp.zeros((2, 3))
    with pytest.raises(IndexingError, match="index 2 is out of range for an axis of length 2"):
        x[2]
    with pytest.raises(IndexingError, match="index -3 is out of range"):
        x[-3]
    with pytest.raises(IndexingError, match=r"3 indices and 0 '...' do not fit shape \(2, 3\)"):
        x[0, 0, 0]
    with pytest.raises(IndexingError, match=r"0 indices and 2 '...' do not fit"):
        x[..., ...]
    with pytest.raises(IndexingError, match="integers, slices, None and Ellipsis; found list"):
        x[[0, 1]]
