"""What the tests made from the records leave out: read by them, and by the published matrix."""

# Records without a generated test, and where they are tested instead.
UNTESTED = {
    "to_device": "nothing to compare without a second device; tests/backends has it",
    "nonzero": "its size depends on the data; tests/ops/test_select.py has it",
    "random_bits": "tests/ops/test_random.py has it, against published answers",
}
