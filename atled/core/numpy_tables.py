"""Which function of atled's answers for which of NumPy's: the tables that `interop.py` reads."""

__all__ = [
    "ACCUMULATE",
    "CONSTANTS",
    "REDUCE",
    "ROWS",
    "SIGNATURES",
    "SPECIAL",
    "UFUNCS",
    "WRITTEN",
]

# NumPy's name, or NumPy's name = atled's.
UFUNCS = """
absolute add arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and bitwise_or bitwise_xor
ceil conjugate=conj copysign cos cosh deg2rad degrees divide equal exp exp2 expm1 fabs=abs
float_power floor floor_divide fmax fmin fmod greater greater_equal heaviside hypot
invert=bitwise_invert isfinite isinf isnan ldexp left_shift=bitwise_left_shift less less_equal log
log10 log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor matmul
maximum minimum multiply negative not_equal positive power=pow rad2deg radians
reciprocal remainder right_shift=bitwise_right_shift rint=round sign signbit sin sinh sqrt square
subtract tan tanh trunc vecdot
"""
SPECIAL = "entr erf erfc erfinv expit=sigmoid gammaln logit ndtr psi=digamma xlog1py xlogy"
REDUCE = """
add=sum logaddexp=logsumexp logical_and=all logical_or=any maximum=max minimum=min multiply=prod
"""
ACCUMULATE = """
add=cumulative_sum logaddexp=logcumsumexp maximum=cummax minimum=cummin multiply=cumulative_prod
"""

# NumPy's name, atled's, and NumPy's parameters that it understands: by position, then after "|"
# by keyword. `ddof:correction` renames; `-kind` is of no effect here; any other one must be left
# at its default.
ROWS = """
all               all               a | axis keepdims
allclose          allclose          a b | rtol atol equal_nan
any               any               a | axis keepdims
argmax            argmax            a | axis keepdims
argmin            argmin            a | axis keepdims
argwhere          argwhere          a
around            round             a | decimals
astype            astype            x dtype | -copy
atleast_1d        atleast_1d        *arys
atleast_2d        atleast_2d        *arys
atleast_3d        atleast_3d        *arys
amax              max               a | axis keepdims
amin              min               a | axis keepdims
broadcast_to      broadcast_to      array shape | -subok
bincount          bincount          x | weights minlength
clip              clip              a | a_min:min a_max:max min max
column_stack      column_stack      tup
concatenate       concat            arrays | axis -casting
copy              clone             a | -order -subok
count_nonzero     count_nonzero     a | axis keepdims
cross             cross             a b | axis
diag              diag              v | k
diagonal          diagonal          a | offset axis1:dim1 axis2:dim2
diff              diff              a | n axis prepend append
dot               dot               a b
dsplit            dsplit            ary indices_or_sections
dstack            dstack            tup
empty_like        empty_like        prototype | dtype -order -subok
expand_dims       expand_dims       a axis
fix               trunc             x
flip              flip              m | axis
fliplr            fliplr            m
flipud            flipud            m
hsplit            hsplit            ary indices_or_sections
hstack            hstack            tup | -casting
imag              imag              val
inner             inner             a b
isclose           isclose           a b | rtol atol equal_nan
kron              kron              a b
matrix_transpose  matrix_transpose  x
max               max               a | axis keepdims
mean              mean              a | axis keepdims
min               min               a | axis keepdims
moveaxis          moveaxis          a source destination
nan_to_num        nan_to_num        x | -copy nan posinf neginf
nanmean           nanmean           a | axis keepdims
nansum            nansum            a | axis keepdims
nonzero           nonzero           a
ones_like         ones_like         a | dtype -order -subok
outer             outer             a b
permute_dims      transpose         a | axes:axis0
prod              prod              a | axis keepdims
real              real              val
real_if_close     real              a | -tol
reshape           reshape           a shape | -copy
roll              roll              a shift | axis
rot90             rot90             m | k axes
round             round             a | decimals
searchsorted      searchsorted      a v | side
sinc              sinc              x
squeeze           squeeze           a | axis
stack             stack             arrays | axis -casting
std               std               a | axis ddof:correction correction keepdims
sum               sum               a | axis keepdims
swapaxes          transpose         a axis1 axis2
take_along_axis   take_along_axis   arr indices | axis
tensordot         tensordot         a b | axes
tile              tile              A reps
transpose         transpose         a | axes:axis0
trapezoid         trapezoid         y | x dx axis
tril              tril              m | k
triu              triu              m | k
unique_all        unique_all        x
unique_counts     unique_counts     x
unique_inverse    unique_inverse    x
unique_values     unique_values     x
unstack           unstack           x | axis
var               var               a | axis ddof:correction correction keepdims
vdot              vdot              a b
vsplit            vsplit            ary indices_or_sections
vstack            vstack            tup | -casting
zeros_like        zeros_like        a | dtype -order -subok
linalg.cross             cross             x1 x2 | axis
linalg.det               det               a
linalg.inv               inverse           a
linalg.matmul            matmul            x1 x2
linalg.matrix_transpose  matrix_transpose  x
linalg.outer             outer             x1 x2
linalg.slogdet           slogdet           a
linalg.tensordot         tensordot         x1 x2 | axes
linalg.vecdot            vecdot            x1 x2 | axis
linalg.vector_norm       norm              x | axis keepdims ord
"""

# Of integers, booleans, text and types: NumPy answers from the values, nothing has a derivative.
CONSTANTS = """
argpartition array2string array_equal array_equiv array_repr array_str can_cast common_type
diag_indices_from digitize einsum_path flatnonzero iscomplex iscomplexobj isin isneginf isposinf
isreal isrealobj lexsort may_share_memory min_scalar_type nanargmax nanargmin ndim packbits
ravel_multi_index result_type shape shares_memory size tril_indices_from triu_indices_from
unpackbits unravel_index
"""

# Signatures that NumPy's C functions do not tell before 2.4.
SIGNATURES = {
    "bincount": "x weights=None minlength=0",
    "can_cast": "from_ to casting='safe'",
    "concatenate": "arrays axis=0 out=None dtype=None casting='same_kind'",
    "copyto": "dst src casting='same_kind' where=True",
    "dot": "a b out=None",
    "inner": "a b",
    "putmask": "a mask values",
    "vdot": "a b",
    "where": "condition x=None y=None",
}

# Functions that write: the parameter that is written into.
WRITTEN = {"copyto": "dst", "fill_diagonal": "a"}
