"""Linear algebra by NumPy and SciPy, as straight as can be: what atled's is compared with."""

import numpy as np
from scipy import linalg


def band(x, *, low, high):
    low, high = (-len(x) if low is None else low), (x.shape[-1] if high is None else high)
    return np.triu(np.tril(x, high), low)


def permute_rows(x, p, *, inverse):
    identity = np.eye(p.shape[-2])[p[..., 0]]
    return (np.swapaxes(identity, -1, -2) if inverse else identity) @ x


def triangular_solve(a, b, *, lower, unit_diagonal, transposed):
    part = np.tril(a, -unit_diagonal) if lower else np.triu(a, int(unit_diagonal))
    part = part + np.eye(len(a[0])) if unit_diagonal else part
    return np.linalg.solve(np.swapaxes(part, -1, -2) if transposed else part, b)


def cholesky(x, *, upper=False):
    y = np.linalg.cholesky((x + np.swapaxes(x, -1, -2)) / 2)
    return np.swapaxes(y, -1, -2) if upper else y


def plu(x):
    return linalg.lu(x)


def lu(x, *, needed_by=""):
    p, low, up = linalg.lu(x)
    return np.tril(low, -1) + up, np.argmax(p, axis=-2)[..., None]


def lu_factor(x):
    packed, p = lu(x)
    return packed, p[..., 0]


def cofactor(x):
    minors = np.empty(x.shape)
    for i, j in np.ndindex(x.shape[-2:]):
        rest = np.delete(np.delete(x, i, -2), j, -1)
        minors[..., i, j] = (-1) ** (i + j) * np.linalg.det(rest)
    return minors


def solve(a, b):
    return np.linalg.solve(a, b)


def solve_triangular(a, b, *, upper, left=True, unitriangular=False):
    if not left:
        return solve_triangular(a.T, b.T, upper=not upper, unitriangular=unitriangular).T
    return triangular_solve(a, b, lower=not upper, unit_diagonal=unitriangular, transposed=False)


def cholesky_solve(b, factor, *, upper=False):
    part = np.triu(factor) if upper else np.tril(factor)
    other = np.swapaxes(part, -1, -2)
    return np.linalg.solve(other @ part if upper else part @ other, b)


def logdet(x):
    return np.linalg.slogdet(x)[1]
