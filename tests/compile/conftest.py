"""Run tests on native programs and on interpreted ones, which are the reference.

Some files have hundreds of cases that each compile something. A fast run takes one in `ONE_IN` of
them, always the same ones; `make test` takes all.
"""

import zlib
from pathlib import Path

import pytest

from atled.compile import function, prepared
from atled.compile.interpret import Interpreted

ONE_IN = {
    "test_records.py": 40,
    "test_mathematics.py": 12,
    "test_simplify.py": 16,
    "test_kernels.py": 12,
    "test_inplace.py": 10,
    "test_pooling.py": 4,
    "test_threads.py": 3,
    "test_sequences.py": 3,
    "test_training.py": 3,
    "test_convolution.py": 4,
    "test_transforms.py": 10,
    "test_random_graphs.py": 3,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark most cases of the large files as slow."""
    for item in items:
        share = ONE_IN.get(item.path.name) if item.path.parent == Path(__file__).parent else None
        if share is not None and zlib.crc32(item.name.encode()) % share:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=[pytest.param("native", marks=pytest.mark.slow), "interpreted"])
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Choose what runs the graphs."""
    if request.param == "interpreted":
        monkeypatch.setattr(prepared, "executor", Interpreted)
        monkeypatch.setattr(function, "executor", Interpreted)
    return request.param  # type: ignore[no-any-return]
