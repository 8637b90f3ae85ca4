"""What each function of NumPy's public namespaces does with a Tensor; the table of docs/numpy.md.

    python -m tests.core.numpy_table        # write docs/numpy.md

Every callable of `numpy`, `numpy.linalg` and `numpy.fft` that takes an array is called with a
float64 Tensor that requires a gradient, and with the plain array beside it. A cell is "gradient"
(values as NumPy's, gradient as central differences of NumPy's own function), "constant" (no
derivative by nature: integers, shapes, steps), or "raises". Anything else is an error.
"""

import io
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import atled as at

VERSION = ".".join(np.__version__.split(".")[:2])
DOCUMENT = Path(__file__).parents[2] / "docs" / "numpy.md"
SPACES = {"": np, "linalg.": np.linalg, "fft.": np.fft}
X = np.array([[0.31, 0.62, 0.43], [0.87, 0.24, 0.55]])
V = np.array([0.31, 0.62, 0.43, 0.87])
S = np.array([[1.31, 0.22, 0.43], [0.17, 1.24, 0.05], [0.4, 0.5, 2.2]])
IDS = np.array([0, 2, 1, 2])

# No function of an array: settings, files, dtypes, and what only makes arrays from numbers.
NO_ARRAY = """
test show_config show_runtime info get_include getbufsize setbufsize geterr geterrcall seterr
seterrcall errstate get_printoptions set_printoptions printoptions load loadtxt genfromtxt fromfile
frombuffer fromregex fromstring memmap dtype datetime_data busdaycalendar nested_iters
mintypecode typename promote_types issubdtype isdtype finfo iinfo base_repr binary_repr
broadcast_shapes bartlett blackman hamming hanning kaiser character flexible generic
inexact number integer floating signedinteger unsignedinteger complexfloating ufunc ndarray
frompyfunc vectorize fromfunction ndindex diag_indices empty eye identity indices mask_indices ones
tri tril_indices triu_indices zeros from_dlpack LinAlgError fftfreq rfftfreq nditer
is_busday busday_count busday_offset datetime_as_string isnat
""".split()

# How to call, where one 2-d Tensor by itself is not the call to make: (array, arguments with t).
two = (X, lambda f, t: f(t, X + 0.1))
both = (X, lambda f, t: f(t, 2 * t + 0.1))
square = (S, lambda f, t: f(t))
vector = (V, lambda f, t: f(t))
pair = (V, lambda f, t: f(t, V + 0.2))
joined = (X, lambda f, t: f([t, X]))
RECIPES: dict[str, tuple[Any, Callable[..., Any]]] = {
    **dict.fromkeys(
        "add arctan2 atan2 copysign divide equal float_power floor_divide fmax fmin fmod greater "
        "greater_equal heaviside hypot less less_equal logaddexp logaddexp2 logical_and logical_or "
        "logical_xor maximum minimum mod multiply nextafter not_equal pow power remainder subtract "
        "true_divide divmod allclose array_equal array_equiv isclose inner vdot kron "
        "may_share_memory shares_memory outer isin intersect1d setdiff1d setxor1d union1d append "
        "gcd lcm bitwise_and bitwise_or bitwise_xor".split(),
        two,
    ),
    **dict.fromkeys(
        "vecdot linalg.vecdot polyadd polysub polymul polydiv cov corrcoef".split(), both
    ),
    **dict.fromkeys(
        "linalg.inv linalg.det linalg.cond linalg.eig linalg.eigh linalg.eigvals linalg.eigvalsh "
        "linalg.pinv linalg.qr linalg.slogdet linalg.svd linalg.svdvals linalg.matrix_rank trace "
        "linalg.trace linalg.diagonal diagonal diag diag_indices_from tril triu "
        "linalg.matrix_norm".split(),
        square,
    ),
    **dict.fromkeys("ediff1d poly roots trim_zeros vander i0 unwrap diagflat".split(), vector),
    **dict.fromkeys("convolve correlate linalg.outer trapezoid".split(), pair),
    **dict.fromkeys(
        "concat concatenate stack hstack vstack dstack column_stack row_stack block".split(), joined
    ),
    **dict.fromkeys("acosh arccosh".split(), (X + 1, lambda f, t: f(t))),
    **dict.fromkeys("cross linalg.cross".split(), two),
    **dict.fromkeys("bitwise_left_shift bitwise_right_shift left_shift right_shift".split(), two),
    "ldexp": (X, lambda f, t: f(t, 2)),
    "dot": (X, lambda f, t: f(t, X.T)),
    "matmul": (X, lambda f, t: f(X.T, t)),
    "linalg.matmul": (X, lambda f, t: f(t, X.T)),
    "matvec": (X, lambda f, t: f(t, X[0])),
    "vecmat": (X, lambda f, t: f(X[:, 0], t)),
    "tensordot": (X, lambda f, t: f(t, X, 2)),
    "linalg.tensordot": (X, lambda f, t: f(t, X, axes=2)),
    "linalg.multi_dot": (X, lambda f, t: f([t, X.T, t])),
    "linalg.matrix_power": (S, lambda f, t: f(t, 3)),
    "linalg.cholesky": (S, lambda f, t: f(t @ t.T)),  # of a symmetric matrix, however it moves
    "linalg.solve": (S, lambda f, t: f(t, V[:3])),
    "linalg.lstsq": (S, lambda f, t: f(t, V[:3])),
    "linalg.tensorinv": (S, lambda f, t: f(t, 1)),
    "linalg.tensorsolve": (S, lambda f, t: f(t, V[:3])),
    "einsum": (X, lambda f, t: f("ij,kj->ik", t, X)),
    "einsum_path": (X, lambda f, t: f("ij,kj->ik", t, X)),
    "apply_along_axis": (X, lambda f, t: f(np.sum, 0, t)),
    "apply_over_axes": (X, lambda f, t: f(np.sum, t, 0)),
    "piecewise": (X, lambda f, t: f(t, [X > 0.5], [1.0, 2.0])),
    "argpartition": (V, lambda f, t: f(t, 2)),
    "partition": (V, lambda f, t: f(t, 2)),
    "array_split": (V, lambda f, t: f(t, 3)),
    "split": (V, lambda f, t: f(t, 2)),
    "hsplit": (X, lambda f, t: f(t, 3)),
    "vsplit": (X, lambda f, t: f(t, 2)),
    "dsplit": (X[None] * S[:, :2, None], lambda f, t: f(t, [1, 2])),
    "astype": (X, lambda f, t: f(t, np.float64)),
    "average": (X, lambda f, t: f(t, axis=1, weights=[1.0, 2.0, 0.5])),
    "bincount": (V, lambda f, t: f(IDS, t)),
    "bmat": (X, lambda f, t: f([[t, t]])),
    "broadcast_to": (X, lambda f, t: f(t, (2, 2, 3))),
    "broadcast_arrays": (X, lambda f, t: f(t, X[0])),
    "can_cast": (X, lambda f, t: f(np.float32, np.float64)),
    "choose": (X, lambda f, t: f(np.array([[0, 1, 0], [1, 0, 1]]), [t, X])),
    "clip": (X, lambda f, t: f(t, 0.3, 0.6)),
    "compress": (X, lambda f, t: f([True, False, True], t, axis=1)),
    "copyto": (X, lambda f, t: (c := t * 0, f(c, t), c)[-1]),
    "digitize": (V, lambda f, t: f(t, [0.2, 0.5, 0.8])),
    "empty_like": (X, lambda f, t: np.shape(f(t))),
    "format_float_positional": (X, lambda f, t: f(t[0, 0])),
    "format_float_scientific": (X, lambda f, t: f(t[0, 0])),
    "cumsum": (X, lambda f, t: f(t, 1)),
    "cumulative_sum": (X, lambda f, t: f(t, axis=1, include_initial=True)),
    "cumulative_prod": (X, lambda f, t: f(t, axis=1)),
    "delete": (V, lambda f, t: f(t, 1)),
    "insert": (V, lambda f, t: f(t, 1, 0.5)),
    "expand_dims": (X, lambda f, t: f(t, 0)),
    "extract": (X, lambda f, t: f(X > 0.4, t)),
    "fill_diagonal": (S, lambda f, t: (c := t * 2, f(c, 1.0), c)[-1]),
    "full": (X, lambda f, t: f((2, 3), t)),
    "full_like": (X, lambda f, t: f(t, t[0])),
    "fromiter": (V, lambda f, t: f(t, float)),
    "geomspace": (X, lambda f, t: f(t, 2.0, 3)),
    "gradient": (X, lambda f, t: f(t, 0.5)),
    "histogram2d": (V, lambda f, t: f(t, V)),
    "interp": (V, lambda f, t: f(t, [0.0, 0.5, 1.0], [1.0, 3.0, 2.0])),
    "lexsort": (X, lambda f, t: f(t)),
    "linspace": (X, lambda f, t: f(t, 2.0, 3)),
    "logspace": (X, lambda f, t: f(t, 2.0, 3)),
    "arange": (X, lambda f, t: f(t[0, 0])),
    "matrix_transpose": (X, lambda f, t: f(t)),
    "meshgrid": (V, lambda f, t: f(t, V)),
    "moveaxis": (X, lambda f, t: f(t, 0, 1)),
    "pad": (X, lambda f, t: f(t, 1)),
    "percentile": (X, lambda f, t: f(t, [30, 60], axis=1)),
    "nanpercentile": (X, lambda f, t: f(t, 30)),
    "quantile": (X, lambda f, t: f(t, 0.3)),
    "nanquantile": (X, lambda f, t: f(t, 0.3)),
    "median": (X, lambda f, t: f(t, axis=(0, 1))),
    "place": (X, lambda f, t: f(X.copy(), X > 0.5, t)),
    "put": (X, lambda f, t: f(X.copy(), [0, 1], t)),
    "putmask": (X, lambda f, t: f(X.copy(), X > 0.5, t)),
    "put_along_axis": (X, lambda f, t: f(X.copy(), np.array([[0], [1]]), t, 1)),
    "polyder": (V, lambda f, t: f(t)),
    "polyfit": (V, lambda f, t: f(t, V + 1, 1)),
    "polyval": (V, lambda f, t: f([1.0, -2.0, 0.5], t)),
    "ravel_multi_index": (X, lambda f, t: f((IDS, IDS), (3, 3))),
    "unravel_index": (X, lambda f, t: f(IDS, (3, 3))),
    "repeat": (X, lambda f, t: f(t, [2, 0, 1], axis=1)),
    "require": (X, lambda f, t: f(t)),
    "reshape": (X, lambda f, t: f(t, (3, -1))),
    "resize": (X, lambda f, t: f(t, (2, 4))),
    "roll": (X, lambda f, t: f(t, 1, axis=1)),
    "rollaxis": (X, lambda f, t: f(t, 1)),
    "save": (X, lambda f, t: f(io.BytesIO(), t)),
    "savetxt": (X, lambda f, t: f(io.BytesIO(), t)),
    "savez": (X, lambda f, t: f(io.BytesIO(), t)),
    "savez_compressed": (X, lambda f, t: f(io.BytesIO(), t)),
    "searchsorted": (V, lambda f, t: f(np.sort(V), t)),
    "select": (X, lambda f, t: f([X > 0.5, X > 0.4], [t, 2 * t], 1.0)),
    "squeeze": (X[None], lambda f, t: f(t, 0)),
    "std": (X, lambda f, t: f(t, axis=1, ddof=1)),
    "var": (X, lambda f, t: f(t, axis=1, ddof=1)),
    "swapaxes": (X, lambda f, t: f(t, 0, 1)),
    "take": (X, lambda f, t: f(t, [2, 0, 2], axis=1)),
    "take_along_axis": (X, lambda f, t: f(t, np.array([[0, 2], [1, 1]]), 1)),
    "tile": (X, lambda f, t: f(t, (2, 1))),
    "where": (X, lambda f, t: f(X > 0.5, t, 0)),
    "poly1d": (V, lambda f, t: f(t)),
    "packbits": (X, lambda f, t: f(t)),
}
PLATFORM = ["float128", "complex256", "float96", "complex192"]  # of some machines only
NUMBERS = ["fromiter"]  # reads numbers one by one, as float(t) does
INNER = {"poly1d": "trim_zeros", "full": "copyto"}  # NumPy's own inner call is the one refused
RECIPES["permute_dims"] = RECIPES["transpose"] = (X, lambda f, t: f(t, (1, 0)))


def callables() -> Iterator[tuple[str, Any]]:
    """Yield every public callable of the namespaces that may take an array."""
    for prefix, space in SPACES.items():
        for name in sorted(dir(space)):
            found = getattr(space, name)
            known = name[0] != "_" and name not in NO_ARRAY
            if known and callable(found) and not isinstance(found, types.ModuleType):
                yield prefix + name, found


def _leaves(result: Any) -> list[Any]:
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        return [leaf for part in result for leaf in _leaves(part)]
    return [result]


def _floats(result: Any) -> list[np.ndarray]:
    found = [np.asarray(leaf) for leaf in _leaves(result) if hasattr(leaf, "dtype")]
    return [x for x in found if x.dtype.kind in "fc"]


def judge(name: str, function: Any) -> str:
    """Return the kind of a cell, a title of `document`; raise if the cell is wrong."""
    x, call = RECIPES.get(name, (X, lambda f, t: f(t)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = call(function, x.copy())
        except Exception:
            expected = None
        t = at.tensor(x, requires_grad=True)
        try:
            result = call(function, t)
        except at.AtledError as error:
            _check_text(name, function, error)
            return "raises"
        except Exception as error:
            if "'Tensor' object has no attribute" in str(error):
                return "raises"
            if expected is None:
                return "not for floats"
            raise
        return _compare(name, function, call, x, t, expected, result)


def _check_text(name: str, function: Any, error: Exception) -> None:
    text = str(error)
    known = {name, name.rpartition(".")[0] + function.__name__, getattr(function, "__name__", "")}
    known.add(INNER.get(name, name))
    named = any(f"np.{n}" in text for n in known)
    assert named or "cannot become a NumPy array" in text, f"np.{name} is not named: {text}"
    assert "detach()" in text or "in atled" in text, text


def _compare(
    name: str, function: Any, call: Any, x: np.ndarray, t: Any, expected: Any, result: Any
) -> str:
    leaves = _leaves(result)
    if name in NUMBERS:
        return "number"
    assert result is not None, f"np.{name} writes: give it a recipe that returns what is written"
    tensors = [y for y in leaves if isinstance(y, at.Tensor) and y.dtype.is_floating_point]
    stray = [y for y in leaves if not isinstance(y, at.Tensor) and _floats(y)]
    assert not stray, f"np.{name} gave a detached {type(stray[0]).__name__}"
    references = _floats(expected)
    assert len(references) == len(tensors), f"np.{name}: {len(tensors)} floating results"
    for y, reference in zip(tensors, references, strict=True):
        np.testing.assert_allclose(y.detach().numpy(), reference, rtol=1e-10, atol=1e-12)
    found = "constant"
    for i, y in enumerate(tensors):
        numeric, v = _differences(lambda a, i=i: _floats(call(function, a))[i], x)
        if not y.requires_grad:
            assert not numeric.any(), f"np.{name}: result {i} is silently constant"
            continue
        (g,) = at.autograd.grad(y, t, at.tensor(v), retain_graph=True, materialize_grads=True)
        np.testing.assert_allclose(g.numpy(), numeric, rtol=1e-5, atol=1e-7, err_msg=name)
        found = "gradient"
    return found


def _differences(f: Callable[..., Any], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of Σ v·f(x) by central differences, and v."""
    v = np.cos(np.arange(f(x).size, dtype=float)).reshape(f(x).shape)
    out = np.zeros(x.shape)
    for at_ in np.ndindex(*x.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = x.copy()
            moved[at_] += step
            ends.append((v * f(moved)).sum())
        out[at_] = (ends[0] - ends[1]) / 2e-6
    return out, v


def document() -> str:
    """Return the page with the table."""
    cells: dict[str, list[str]] = {}
    for name, function in callables():
        if name not in PLATFORM:
            cells.setdefault(judge(name, function), []).append(name)
    titles = {
        "gradient": "The gradient is right: values as NumPy's, gradient as central differences",
        "constant": "Constant by nature: shapes, indices, booleans, text, steps",
        "number": "Reads numbers one by one, as `float(t)` does: asked for, and detached",
        "raises": "Raises an error that names the function and says what to do",
        "not for floats": "NumPy itself refuses floating arrays",
    }
    lines = [
        "# NumPy's functions on a Tensor",
        "",
        "<!-- written by `python -m tests.core.numpy_table`; do not edit -->",
        "",
        "NumPy code is differentiated as it stands: `np.tanh(x @ w)`, `arr * t`, `np.sum(t)`",
        "of a Tensor are atled's. Every public callable of `numpy`, `numpy.linalg` and `numpy.fft`",
        "that takes an array was called with a float64 Tensor that requires a gradient. None gives",
        "a silent zero, and only `np.fromiter` a detached array; what has no derivative here",
        "raises, naming itself. What is asked for as a number, `float(t)`, `np.float64(t[0])` or",
        "`c.fill(t[0])`, is a number, without a gradient. Conversion to an array raises:",
        "`np.asarray(t)`: `np.asarray(t.detach())` has the values. A write into a plain array,",
        "`c[0] = t`, raises too; make it a Tensor first, `c = at.asarray(c)`. This is the table of",
        f"NumPy {VERSION}.",
        "",
    ]
    for kind, title in titles.items():
        names = sorted(cells.get(kind, []), key=lambda n: (n.count("."), n))
        lines += [f"## {title} ({len(names)})", ""]
        lines += [", ".join(f"`{name}`" for name in names) + ".", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
