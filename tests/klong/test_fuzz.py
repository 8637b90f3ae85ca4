"""A short run of the fuzzer; `python tests/klong/fuzz.py 100000` is the long one."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fuzz


def test_only_values_and_klong_errors(backend: str) -> None:
    faults = fuzz.fuzz(1000, 20, backend)
    assert not faults, faults[:5]


@pytest.mark.slow
def test_only_values_and_klong_errors_for_longer(backend: str) -> None:
    faults = fuzz.fuzz(8000, 22, backend)
    assert not faults, faults[:5]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(find_spec("llvmlite") is None, reason="programs are made by llvmlite")
@pytest.mark.skipif(find_spec("numpy") is None, reason="programs run on NumPy's arrays")
def test_with_hot_functions_too() -> None:
    with fuzz.at_once() as native:
        faults = fuzz.fuzz(4000, 21, "numpy", compile=True)
    assert not faults, faults[:5]
    assert native[0] > 100, native


def test_the_fuzzer_sees_faults() -> None:
    k = fuzz.fresh("python")
    k["broken"] = lambda x: [][0]
    found = fuzz.fault(k, "broken(1)")
    assert found is not None
    assert "IndexError" in found
    assert fuzz.fault(k, "1+") is None
    assert fuzz.fault(k, "{1}{x}:~1") is None  # the budget ends it
    k.context.depth = 1
    assert fuzz.fault(k, "1+") == "the state of the interpreter is not whole"


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
