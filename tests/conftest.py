"""The backends to test on, and a clean state around every test."""

import os

import pytest

from atled.backends import protocol
from atled.config import modes, settings

# A test process keeps NumPy's own choice of BLAS kernels, whatever the machine's settings.
for _name in [n for n in os.environ if n.startswith("OPENBLAS_")]:
    del os.environ[_name]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --backend: run the tests that take a backend on this one only."""
    parser.addoption("--backend", choices=protocol.names(), help="test on this backend only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with a `backend` argument on every backend that is installed."""
    if "backend" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--backend")
        names = [chosen] if chosen else protocol.names()
        metafunc.parametrize("backend", names, indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """Make a backend the current one; skip where its library is missing."""
    name = request.param
    if not protocol.is_installed(name):
        pytest.skip(f"the library of the {name} backend is not installed")
    protocol.use(name)
    return name  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def _clean_settings():
    before = settings.backend, settings.device, settings.default_dtype, modes.enabled
    safe = settings.safe_gradients
    yield
    settings.backend, settings.device, settings.default_dtype, modes.enabled = before
    settings.safe_gradients = safe
