"""A short run of the fuzzer; `python tests/klong/fuzz.py 100000` is the long one."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fuzz


def test_only_values_and_klong_errors(backend: str) -> None:
    faults = fuzz.fuzz(8000, 20, backend)
    assert not faults, faults[:5]


@pytest.mark.filterwarnings("ignore")
def test_with_hot_functions_too(backend: str) -> None:
    faults = fuzz.fuzz(500, 21, backend, compile=True)
    assert not faults, faults[:5]


def test_the_fuzzer_sees_faults() -> None:
    k = fuzz.fresh("python")
    k["broken"] = lambda x: [][0]
    found = fuzz.fault(k, "broken(1)")
    assert found is not None
    assert "IndexError" in found
    assert fuzz.fault(k, "1+") is None
    assert fuzz.fault(k, "{1}{x}:~1") is None  # the budget ends it


def test_programs_are_of_both_kinds() -> None:
    maker = fuzz.Maker(fuzz.random.Random(1))
    texts = [maker.program() for _ in range(300)]
    k = fuzz.fresh("python")
    good = 0
    for text in texts:
        try:
            k(text)
            good += 1
        except fuzz.KlongError:
            pass
    assert 20 < good < 280
