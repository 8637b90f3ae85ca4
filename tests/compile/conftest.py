"""Run tests on native programs and on interpreted ones, which are the reference."""

import pytest

from atled.compile import function, prepared
from atled.compile.interpret import Interpreted


@pytest.fixture(params=[pytest.param("native", marks=pytest.mark.slow), "interpreted"])
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Choose what runs the graphs."""
    if request.param == "interpreted":
        monkeypatch.setattr(prepared, "executor", Interpreted)
        monkeypatch.setattr(function, "executor", Interpreted)
    return request.param  # type: ignore[no-any-return]
