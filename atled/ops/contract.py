"""Contractions: products summed over shared axes.

`matmul` is the one bilinear record; `dot`, `tensordot`, `einsum` and the others bring their
operands into its form. Convolutions are in `conv.py`.
"""

import math
from collections.abc import Sequence
from typing import Any

from atled.core.apply import apply, as_tensor
from atled.core.batching import stacks
from atled.core.kinds import bilinear, broadcast_shapes, normalize_axes
from atled.core.op import Sample, Spec
from atled.core.surface import FUNCTIONS, public, spelled
from atled.core.tensor import Tensor
from atled.errors import ShapeError
from atled.ops.elementwise import multiply
from atled.ops.reduce import sum_
from atled.ops.shape import expand_dims, permute_dims, reshape


def _matmul_spec(a: Spec, b: Spec) -> Spec:
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"matmul: shapes {a.shape} and {b.shape} do not fit: {a.shape[-1]} columns of the "
            f"first meet {b.shape[-2]} rows of the second"
        )
    lead = broadcast_shapes(a.shape[:-2], b.shape[:-2], name="matmul")
    return Spec((*lead, a.shape[-2], b.shape[-1]), a.dtype)


def _flipped(xp: Any, x: Any) -> Any:
    """Return x with its last two axes exchanged."""
    n = len(x.shape)
    return xp.permute_dims(x, axes=(*range(n - 2), n - 1, n - 2))


def _matmul_batch(xp: Any, n: int, mapped: Any, a: Any, b: Any) -> Any:
    """Multiply a batch of matrices: by one matrix for all examples, as rows of one product."""
    if not mapped[1] and len(b.shape) == 2:  # (n, …, p, q) (q, r)
        rows = xp.reshape(a, shape=(math.prod(a.shape[:-1]), a.shape[-1]))
        return xp.reshape(xp.matmul(rows, b), shape=(*a.shape[:-1], b.shape[-1]))
    if not mapped[0] and len(a.shape) == 2 and len(b.shape) == 3 and b.shape[-1] == 1:
        rows = xp.reshape(b, shape=(n, b.shape[1]))  # (p, q) (n, q, 1)
        return xp.reshape(xp.matmul(rows, _flipped(xp, a)), shape=(n, a.shape[0], 1))
    outer = a.shape[-1] == 1 and xp.level == 0
    if outer and xp.dtype_of(a).is_floating_point:  # in NumPy 3 times as fast as its matmul
        return stacks("multiply")(xp, n, mapped, a, b)
    return stacks("matmul")(xp, n, mapped, a, b)


matmul_ = bilinear(
    "matmul",
    infer=_matmul_spec,
    broadcasts=True,
    batch=_matmul_batch,
    transposes=[
        lambda xp, g, b: xp.matmul(g, _flipped(xp, b)),
        lambda xp, g, a: xp.matmul(_flipped(xp, a), g),
    ],
    samples=(
        Sample(((2, 3), (3, 4))),
        Sample(((5, 2, 3), (3, 4))),
        Sample(((2, 1, 2, 3), (4, 3, 2))),
    ),
    doc="Matrix product of the last two axes; leading axes broadcast.",
)


@public(
    samples=(
        Sample(((3,), (3, 4))),
        Sample(((2, 3), (3,))),
        Sample(((3,), (3,))),
        Sample(((5, 2, 3), (3, 1))),
    )
)
def matmul(a: Any, b: Any) -> Tensor:
    """Matrix product over the last axis of a and the last but one of b; 1-d operands as vectors.

    Raises:
        ShapeError: an operand is 0-d, or the lengths differ; both shapes are named.
    """
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim > 1 and b.ndim > 1:
        return apply(matmul_, a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul: operands need an axis; shapes {a.shape} and {b.shape}")
    if a.shape[-1] != b.shape[0 if b.ndim == 1 else -2]:
        raise ShapeError(f"matmul: shapes {a.shape} and {b.shape} do not fit")
    y = apply(
        matmul_, expand_dims(a, 0) if a.ndim == 1 else a, expand_dims(b, 1) if b.ndim == 1 else b
    )
    shape = y.shape[:-2] + y.shape[-2:-1] * (a.ndim > 1) + y.shape[-1:] * (b.ndim > 1)
    return reshape(y, shape)


def _needs(name: str, ndims: tuple[int, int], a: Tensor, b: Tensor) -> None:
    if (a.ndim, b.ndim) != ndims:
        raise ShapeError(
            f"{name}: operands of {ndims[0]} and {ndims[1]} dimensions are needed; "
            f"found shapes {a.shape} and {b.shape}"
        )


@public(samples=(Sample(((2, 3), (3, 4))),), reference="numpy.matmul")
def mm(a: Any, b: Any) -> Tensor:
    """Product of two matrices."""
    a, b = as_tensor(a), as_tensor(b)
    _needs("mm", (2, 2), a, b)
    return matmul(a, b)


@public(samples=(Sample(((5, 2, 3), (5, 3, 4))),), reference="numpy.matmul")
def bmm(a: Any, b: Any) -> Tensor:
    """Products of two stacks of matrices of equal length."""
    a, b = as_tensor(a), as_tensor(b)
    _needs("bmm", (3, 3), a, b)
    return matmul(a, b)


@public(samples=(Sample(((2, 3), (3,))),), reference="numpy.matmul")
def mv(a: Any, b: Any) -> Tensor:
    """Product of a matrix and a vector."""
    a, b = as_tensor(a), as_tensor(b)
    _needs("mv", (2, 1), a, b)
    return matmul(a, b)


@public(
    samples=(
        Sample(((2, 3), (3, 4))),
        Sample(((2, 3), (5, 3, 4))),
        Sample(((), (2,))),
    )
)
def dot(a: Any, b: Any) -> Tensor:
    """Sum of products over the last axis of a and the last but one of b, as NumPy's dot."""
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim == 0 or b.ndim == 0:
        return apply(multiply, a, b)
    return matmul(a, b) if b.ndim <= 2 else tensordot(a, b, ((a.ndim - 1,), (b.ndim - 2,)))


@public(samples=(Sample(((3, 4), (3, 4))), Sample(((3, 4), (4,)))), reference="reference.vecdot")
@spelled
def vecdot(a: Any, b: Any, axis: int = -1) -> Tensor:
    """Sum of products along one axis; the others broadcast."""
    return FUNCTIONS["sum"](apply(multiply, as_tensor(a), as_tensor(b)), axis=axis)


@public("ger", samples=(Sample(((2,), (3,))),))
def outer(a: Any, b: Any) -> Tensor:
    """All products of an element of a with one of b (both flattened)."""
    a, b = reshape(as_tensor(a), -1), reshape(as_tensor(b), -1)
    return apply(multiply, expand_dims(a, 1), expand_dims(b, 0))


@public(
    samples=(
        Sample(((2, 3, 4), (4, 3, 5)), {"axes": ((1, 2), (1, 0))}),
        Sample(((2, 3), (3, 4)), {"axes": 1}),
    )
)
@spelled
def tensordot(a: Any, b: Any, axes: Any = 2) -> Tensor:
    """Sum of products over the given axes: a number of shared ones, or two sequences.

    Raises:
        ShapeError: the axes differ in length.
    """
    a, b = as_tensor(a), as_tensor(b)
    if isinstance(axes, int):
        axes = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    of_a = normalize_axes(axes[0], a.ndim, "tensordot")
    of_b = normalize_axes(axes[1], b.ndim, "tensordot")
    if [a.shape[i] for i in of_a] != [b.shape[i] for i in of_b]:
        raise ShapeError(
            f"tensordot: axes {of_a} of shape {a.shape} and {of_b} of {b.shape} differ"
        )
    keep_a = [i for i in range(a.ndim) if i not in of_a]
    keep_b = [i for i in range(b.ndim) if i not in of_b]
    n = math.prod(a.shape[i] for i in of_a)
    rows = reshape(permute_dims(a, (*keep_a, *of_a)), (math.prod(a.shape[i] for i in keep_a), n))
    columns = reshape(permute_dims(b, (*of_b, *keep_b)), (n, math.prod(b.shape[i] for i in keep_b)))
    shape = [a.shape[i] for i in keep_a] + [b.shape[i] for i in keep_b]
    return reshape(apply(matmul_, rows, columns), shape)


# -- einsum


@public(
    method=False,
    samples=(
        *[
            Sample(shapes, {"equation": e})
            for e, shapes in (
                ("ij,jk->ik", ((2, 3), (3, 4))),
                ("bij,bjk,k->bi", ((2, 3, 4), (2, 4, 2), (2,))),
                ("...ii->...i", ((2, 3, 3),)),
                ("ij->", ((2, 3),)),
                ("i,j", ((2,), (3,))),
            )
        ],
    ),
    reference="reference.einsum",
)
def einsum(equation: str, *operands: Any) -> Tensor:
    """Sum products over named axes: ``einsum("bij,bjk->bik", a, b)``, with ``...`` for the rest.

    Operands are contracted from left to right, each pair as one matrix product. A letter twice
    in one operand takes its diagonal.

    Raises:
        ShapeError: letters and shapes do not match.
    """
    tensors = [
        as_tensor(x)
        for x in (
            operands[0]
            if len(operands) == 1 and isinstance(operands[0], (list, tuple))
            else operands
        )
    ]
    terms, output = _read_equation(equation, tensors)
    sizes: dict[str, int] = {}
    for term, t in zip(terms, tensors, strict=True):
        for letter, n in zip(term, t.shape, strict=True):
            if sizes.setdefault(letter, n) != n and 1 not in (n, sizes[letter]):
                raise ShapeError(
                    f"einsum {equation!r}: axis {letter!r} is {sizes[letter]} and {n} long"
                )
            sizes[letter] = max(sizes[letter], n)
    term, t = _diagonals(terms[0], tensors[0])
    for i in range(1, len(tensors)):
        later = output + "".join(terms[i + 1 :])
        other, u = _diagonals(terms[i], tensors[i])
        term, t = _contract(term, t, other, u, later)
    return _finish(term, t, output, sizes)


def _read_equation(equation: str, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    left, arrow, output = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        raise ShapeError(f"einsum {equation!r}: {len(terms)} terms for {len(tensors)} operands")
    spare = [chr(c) for c in range(0x391, 0x3C9)]
    widest = 0
    for i, (term, t) in enumerate(zip(terms, tensors, strict=True)):
        if "..." in term:
            width = t.ndim - len(term.replace("...", ""))
            widest = max(widest, width)
            terms[i] = term.replace("...", "".join(spare[:width][::-1]))
        if len(terms[i]) != t.ndim:
            raise ShapeError(
                f"einsum {equation!r}: term {term!r} does not name the axes of shape {t.shape}"
            )
    rest = "".join(spare[:widest][::-1])
    if not arrow:
        letters = "".join(terms)
        output = rest + "".join(
            sorted(c for c in set(letters) if letters.count(c) == 1 and c not in rest)
        )
    output = output.replace("...", rest)
    missing = [c for c in output if c not in "".join(terms)]
    if missing or len(set(output)) != len(output):
        raise ShapeError(f"einsum {equation!r}: the output {output!r} does not follow")
    return terms, output


def _diagonals(term: str, t: Tensor) -> tuple[str, Tensor]:
    """Take the diagonal where a letter stands twice in one term."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            i = term.index(letter)
            j = term.index(letter, i + 1)
            t = FUNCTIONS["diagonal"](t, 0, i, j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + letter
    return term, t


def _contract(term: str, t: Tensor, other: str, u: Tensor, later: str) -> tuple[str, Tensor]:
    """Contract two operands over the letters that nothing later needs, as a matrix product."""
    t, term = _sum_out(t, term, other + later)
    u, other = _sum_out(u, other, term + later)
    shared = [c for c in term if c in other]
    batch = [c for c in shared if c in later]
    inner = [c for c in shared if c not in later]
    rows = [c for c in term if c not in other]
    columns = [c for c in other if c not in term]
    size = dict(zip(other, u.shape, strict=True)) | dict(zip(term, t.shape, strict=True))
    for c in shared:  # an axis of length one stretches
        size[c] = max(t.shape[term.index(c)], u.shape[other.index(c)])
    a = _arranged(t, term, batch, rows, inner, size)
    b = _arranged(u, other, batch, inner, columns, size)
    y = apply(matmul_, a, b)
    shape = [size[c] for c in batch + rows + columns]
    return "".join(batch + rows + columns), reshape(y, shape)


def _arranged(
    t: Tensor,
    term: str,
    batch: list[str],
    first: list[str],
    second: list[str],
    size: dict[str, int],
) -> Tensor:
    order = batch + first + second
    t = permute_dims(t, [term.index(c) for c in order]) if order else t
    full = tuple(size[c] for c in order)
    t = t if t.shape == full else FUNCTIONS["broadcast_to"](t, full)
    lead = [size[c] for c in batch]
    return reshape(
        t, (*lead, math.prod(size[c] for c in first), math.prod(size[c] for c in second))
    )


def _sum_out(t: Tensor, term: str, needed: str) -> tuple[Tensor, str]:
    axes = tuple(i for i, c in enumerate(term) if c not in needed)
    if axes:
        t = apply(sum_, t, axis=axes, keepdims=False)
    return t, "".join(c for c in term if c in needed)


def _finish(term: str, t: Tensor, output: str, sizes: dict[str, int]) -> Tensor:
    t, term = _sum_out(t, term, output)
    t = permute_dims(t, [term.index(c) for c in output]) if output else t
    full = tuple(sizes[c] for c in output)
    return t if t.shape == full else FUNCTIONS["broadcast_to"](t, full)
