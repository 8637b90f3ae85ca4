"""What a run was made with, in a few lines."""

import platform
import sys

from atled.backends.protocol import current

__all__ = ["atled_version", "facts"]


def atled_version() -> str:
    """Return the version of atled. It stands in the package itself, whose room is above."""
    return str(sys.modules["atled"].__version__)


def facts(backend: str) -> dict[str, str]:
    """Return versions by name, for a report."""
    found = {
        "atled": atled_version(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
    }
    if backend != "python":
        described = current().describe()
        found[backend] = described.get("version", "?")
        if "BLAS" in described:
            found["BLAS"] = described["BLAS"]
    return found
