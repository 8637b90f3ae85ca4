"""What the tests made from the records leave out: read by them, and by the published matrix."""

# Records without a generated test, and where they are tested instead.
UNTESTED = {
    "to_device": "nothing to compare without a second device; tests/backends has it",
    "nonzero": "its size depends on the data; tests/ops/test_select.py has it",
    "lu_solve": "its factors follow from its first operand; linalg.solve, by it, is tested in full",
    "enter_batch": "it takes a batch, which vmap makes; tests/core/test_vmap.py has it",
    "leave_batch": "as enter_batch",
    "spread_batch": "as enter_batch",
    "sum_batch": "as enter_batch",
    "random_bits": "tests/ops/test_random.py has it, against published answers",
}

# What `vmap` cannot do, and what its error says.
UNBATCHED = {"masked_select": "how many elements are nonzero differs between the examples"}

# What `vmap` does one matrix after another: LAPACK takes no stacks, and SciPy loops over them.
LOOPED = {
    "triangular_solve",
    "lu",
    "cofactor",
    "cholesky_solve",
    "linalg.solve",
    "linalg.inv",
    "linalg.solve_triangular",
    "linalg.lu",
    "linalg.lu_factor",
}
