"""The compiled functions: their error, their special values, their independence of the lanes."""

import math
import runpy
from pathlib import Path

import pytest

np = pytest.importorskip("numpy", reason="the samples are NumPy's arrays")
pytest.importorskip("mpmath", reason="the exact results come from mpmath")
pytest.importorskip("llvmlite", reason="the functions are compiled by llvmlite")

import llvmlite.binding as llvm  # noqa: E402

from atled.compile.ir import Type, Writer  # noqa: E402
from atled.compile.mathematics import TABLE, erf, exponential, logarithm  # noqa: E402
from tests.compile.accuracy import (  # noqa: E402
    CASES,
    compute,
    measure,
    operands_of,
    samples,
    worst,
)

FLOATS = [np.float32, np.float64]
INTEGERS = [np.int32, np.int64]
INF, NAN = math.inf, math.nan
PEERS = {name: case.peer for name, case in CASES.items() if case.peer is not None}
EXACT = {
    "abs": np.abs, "ceil": np.ceil, "copysign": np.copysign, "floor": np.floor,
    "floor_divide": np.floor_divide, "isfinite": np.isfinite, "isinf": np.isinf,
    "isnan": np.isnan, "maximum": np.maximum, "minimum": np.minimum, "nextafter": np.nextafter,
    "remainder": np.remainder, "round": np.rint, "sign": np.sign, "signbit": np.signbit,
    "sqrt": np.sqrt, "trunc": np.trunc,
}  # fmt: skip
FLOATING = [name for name in TABLE if not name.startswith("unsigned")]
BINARY = "copysign floor_divide maximum minimum nextafter remainder".split()


def special(dtype):
    """Numbers at which a case begins or ends."""
    info = np.finfo(dtype)
    ends = [info.max, info.smallest_normal, info.smallest_subnormal, INF]
    numbers = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 89.0, 2.0**31, 1e22, *ends]
    return np.array([*numbers, *(-x for x in numbers), NAN], dtype)


def pairs(dtype):
    """All pairs of special numbers."""
    first, second = np.meshgrid(special(dtype), special(dtype))
    return [first.ravel(), second.ravel()]


def patterns(dtype, count=3000, seed=0):
    """Numbers of all sizes, with NaN and infinities among them."""
    bits = {4: np.uint32, 8: np.uint64}[np.dtype(dtype).itemsize]
    draw = np.random.default_rng(seed)
    return draw.integers(0, np.iinfo(bits).max, count, bits, True).view(dtype)


def same(ours, theirs):
    """Where two arrays agree: equal with one sign, or both NaN."""
    equal = (ours == theirs) & (np.signbit(ours) == np.signbit(theirs))
    return equal | (np.isnan(ours) & np.isnan(theirs))


def numpy(function, *operands):
    """What NumPy returns, without its warnings, in the operands' dtype."""
    with np.errstate(all="ignore"):
        return function(*operands).astype(operands[0].dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", CASES)
def test_error_is_within_the_limit(name, dtype):
    found = measure(name, dtype, 900, seed=1)
    assert found.error <= CASES[name].limit, found


SINGLE = {  # float64's function, and the largest error of float32's over all patterns
    "exp": (np.exp, 0.95),
    "exp2": (np.exp2, 0.95),
    "tanh": (np.tanh, 1.8),
    "sigmoid": (lambda x: np.exp(np.minimum(x, 0)) / (1 + np.exp(-abs(x))), 1.85),
    "log": (np.log, 1.0),
}


@pytest.mark.parametrize("name", SINGLE)
def test_every_997th_float32(name):
    """All exponents, subnormals, infinities and NaNs with and without a sign and a payload."""
    function, limit = SINGLE[name]
    x = np.arange(0, 2**32, 997, dtype=np.uint64).astype(np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        ours, exact = compute(name, x), function(x.astype(np.float64))
        nearest = exact.astype(np.float32)
        ulp = np.spacing(np.minimum(abs(nearest), np.float32(3e38)))
        error = abs(ours.astype(np.float64) - exact) / ulp
    ends = ~np.isfinite(nearest) | (nearest == 0)
    assert same(ours, nearest)[ends].all()
    assert error[~ends].max() <= limit
    if name in ("tanh", "sigmoid"):
        assert np.nanmax(abs(ours)) == 1


@pytest.mark.slow
def test_the_polynomials_are_those_that_the_tool_finds():
    path = Path(__file__).parents[2] / "tools" / "minimax.py"
    found = runpy.run_path(str(path))
    tables = {
        "EXP": exponential.EXP["float"],
        "EXP2": exponential.EXP2,
        "TANH": exponential.TANH,
        "LOG": logarithm.LOG,
        "FAR": erf.FAR,
    }
    assert found["POLYNOMIALS"].keys() == tables.keys()
    for name, wanted in found["POLYNOMIALS"].items():
        fitted = found["fitted"](wanted)[len(wanted.known) :]
        assert fitted[::-1] == tables[name], name


def test_the_measure_sees_an_error():
    case, x = CASES["exp"], np.linspace(-5, 5, 50)
    results = np.exp(x)
    assert worst(case, [x], results).error < 2
    results[7] += 3 * np.spacing(results[7])
    found = worst(case, [x], results)
    assert 2 < found.error < 4
    assert found.at == (x[7],)
    results[8] = NAN
    assert worst(case, [x], results).error == INF
    results[8] = INF
    assert worst(case, [x], results).error > 1e6


def test_the_measure_sees_a_number_where_there_is_none_and_a_flushed_subnormal():
    assert worst(CASES["log"], [np.array([-1.0])], np.array([0.5])).error == INF
    x = np.array([-730.0])
    assert worst(CASES["exp"], [x], np.exp(x)).error < 2
    assert worst(CASES["exp"], [x], np.array([0.0])).error > 1e6


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", PEERS)
def test_special_values_are_numpys(name, dtype):
    operands = [special(dtype)] if operands_of(CASES[name]) == 1 else pairs(dtype)
    ours, theirs = compute(name, *operands), numpy(PEERS[name], *operands)
    ends = ~np.isfinite(theirs) | (theirs == 0)
    differ = ends & ~same(ours, theirs)
    assert not differ.any(), [(x[differ], ours[differ], theirs[differ]) for x in operands]
    np.testing.assert_allclose(ours, theirs, rtol=4e-7 if dtype is np.float32 else 1e-15)


POINTS = {  # at, result, of functions that NumPy does not have
    "sigmoid": [(-INF, 0), (INF, 1), (0, 0.5), (NAN, NAN), (-1e9, 0), (1e9, 1)],
    "softplus": [(-INF, 0), (INF, INF), (0, math.log(2)), (NAN, NAN)],
    "log_sigmoid": [(-INF, -INF), (INF, -0.0), (0, -math.log(2)), (NAN, NAN)],
    "erf": [(-INF, -1), (INF, 1), (0.0, 0.0), (-0.0, -0.0), (NAN, NAN), (9, 1)],
    "erfc": [(-INF, 2), (INF, 0), (0, 1), (NAN, NAN), (40, 0), (-9, 2)],
    "erfinv": [(1, INF), (-1, -INF), (0.0, 0.0), (-0.0, -0.0), (1.5, NAN), (INF, NAN), (NAN, NAN)],
    "rsqrt": [(0.0, INF), (-0.0, -INF), (INF, 0), (-1, NAN), (NAN, NAN), (4, 0.5)],
    "lgamma": [
        *[(0.0, INF), (-0.0, INF), (1, 0.0), (2, 0.0), (3, math.log(2)), (4, math.log(6))],
        *[(-1, INF), (-2, INF), (INF, INF), (-INF, INF), (NAN, NAN), (-1e300, INF)],
    ],
    "digamma": [(0.0, -INF), (-0.0, INF), (-1, NAN), (INF, INF), (-INF, NAN), (NAN, NAN)],
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", POINTS)
def test_special_values_without_a_peer(name, dtype):
    with np.errstate(over="ignore"):
        x, y = np.array(POINTS[name]).T.astype(dtype)
    ours = compute(name, x)
    assert (same(ours, y) | np.isclose(ours, y, rtol=4e-7, atol=0)).all(), ours


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", "sin tan asin atan sinh tanh asinh atanh expm1 log1p erf".split())
def test_tiny_arguments_keep_their_sign_and_bits(name, dtype):
    tiny = np.array([0.0, np.finfo(dtype).smallest_subnormal], dtype)
    x = np.concatenate([tiny, -tiny])
    assert same(compute(name, x), x).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", EXACT)
def test_exact_functions_are_numpys(name, dtype):
    draw = np.random.default_rng(3)
    near = (draw.integers(-40, 40, (2, 3000)) / 4).astype(dtype)
    if name in BINARY:
        sets = [pairs(dtype), list(near), [patterns(dtype), patterns(dtype, seed=1)]]
        scaled = patterns(dtype)
        with np.errstate(all="ignore"):
            sets.append([scaled, (scaled * draw.normal(size=3000) * 1e-9).astype(dtype)])
    else:
        sets = [[special(dtype)], [near[0]], [patterns(dtype)]]
    for operands in sets:
        ours, theirs = compute(name, *operands), numpy(EXACT[name], *operands)
        right = same(ours, theirs)
        if name in ("maximum", "minimum"):  # of 0.0 and -0.0 either
            right |= (ours == 0) & (theirs == 0)
        assert right.all(), [x[~right][:5] for x in (*operands, ours, theirs)]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", "floor_divide remainder maximum minimum abs sign".split())
def test_integers_are_numpys(name, dtype):
    info, draw = np.iinfo(dtype), np.random.default_rng(4)
    ends = np.array([info.min, info.min + 1, -2, -1, 0, 1, 2, info.max], dtype)
    x, y = (grid.ravel() for grid in np.meshgrid(ends, ends))
    x = np.concatenate([x, draw.integers(-99, 99, 2000), draw.integers(info.min, info.max, 2000)])
    y = np.concatenate([y, draw.integers(-9, 9, 2000), draw.integers(info.min, info.max, 2000)])
    operands = [x.astype(dtype), y.astype(dtype)] if name not in ("abs", "sign") else [x]
    operands = [column.astype(dtype) for column in operands]
    np.testing.assert_array_equal(compute(name, *operands), numpy(EXACT[name], *operands))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_powers_of_integers(dtype):
    draw = np.random.default_rng(5)
    x, y = draw.integers(-20, 20, 1000).astype(dtype), draw.integers(0, 70, 1000).astype(dtype)
    np.testing.assert_array_equal(compute("pow", x, y), numpy(np.power, x, y))
    x, y = np.array([1, -1, -1, 2, 0, 3], dtype), np.array([-5, -5, -4, -1, -1, 0], dtype)
    assert compute("pow", x, y).tolist() == [1, -1, 1, 0, 0, 1]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64])
@pytest.mark.parametrize("name", "floor_divide remainder pow sign".split())
def test_integers_without_a_sign(name, dtype):
    draw = np.random.default_rng(6)
    x = np.concatenate([[0, 200, 255], draw.integers(0, np.iinfo(dtype).max, 997, dtype)])
    y = np.concatenate([[0, 0, 200], draw.integers(0, 255, 997)]).astype(dtype)
    operands = [x.astype(dtype), y] if name != "sign" else [x.astype(dtype)]
    peer = {"pow": np.power, **EXACT}[name]
    ours = compute("unsigned_" + name, *operands)
    np.testing.assert_array_equal(ours, numpy(peer, *operands))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", FLOATING)
def test_lanes_do_not_change_a_bit(name, dtype):
    if name in CASES:
        operands = samples(CASES[name], dtype, 250, seed=2)
    else:
        operands = [patterns(dtype, 250, seed) for seed in range(2 if name in BINARY else 1)]
    odd = special(dtype)
    operands = [np.concatenate([x, odd, odd[at::-1]]) for at, x in enumerate(operands)]
    bits = [compute(name, *operands, lanes=lanes).tobytes() for lanes in (1, 4, 16)]
    assert bits[0] == bits[1] == bits[2]


def test_angles_are_reduced_by_all_digits_of_pi():
    x = np.array([1e22, 6381956970095103 * 2.0**797, 1.7976931348623157e308, -1e22])
    # cos of the second, the double nearest to a multiple of π/2, is -4.6871659242546e-19
    assert compute("sin", x).tolist() == pytest.approx(
        [-0.8522008497671888, 1.0, 0.004961954789184062, 0.8522008497671888], rel=2e-16
    )
    assert compute("cos", x)[1] == pytest.approx(-4.687165924254624e-19, rel=2e-16)


@pytest.mark.parametrize("scalar", ["float", "double"])
@pytest.mark.parametrize("name", FLOATING)
def test_the_text_compiles_for_a_gpu(name, scalar):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple("nvptx64-nvidia-cuda")
    except RuntimeError:
        pytest.skip("this llvmlite has no NVPTX")
    kind, w = Type(scalar), Writer()
    operands = 2 if name in BINARY or (name in CASES and operands_of(CASES[name]) == 2) else 1
    result = TABLE[name](w, kind, *["%x", "%y"][:operands])
    out = "i1" if name in ("isfinite", "isinf", "isnan", "signbit") else kind
    body = f"define {out} @f({kind} %x, {kind} %y) {{\n{w.text()}\nret {out} {result}\n}}"
    module = llvm.parse_assembly("\n".join(sorted(w.declarations)) + "\n" + body)
    module.triple = "nvptx64-nvidia-cuda"
    module.verify()
    machine = target.create_target_machine(cpu="sm_80", opt=2)
    code = machine.emit_assembly(module)
    assert "f(" in code
    assert "fmodf" not in code
