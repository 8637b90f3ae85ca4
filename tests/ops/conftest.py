"""A fast run takes a share of the generated cases under transforms; `make test` takes all."""

import zlib
from pathlib import Path

import pytest

ONE_IN = {"test_transforms.py": 16}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark most cases of the large files as slow."""
    for item in items:
        share = ONE_IN.get(item.path.name) if item.path.parent == Path(__file__).parent else None
        if share is not None and zlib.crc32(item.name.encode()) % share:
            item.add_marker(pytest.mark.slow)
