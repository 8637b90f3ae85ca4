"""`import atled` brings in nothing but the standard library."""

import subprocess
import sys
from pathlib import Path

FOREIGN = [
    "array_api_compat",
    "hypothesis",
    "llvmlite",
    "matplotlib",
    "numpy",
    "rich",
    "safetensors",
    "scipy",
    "torch",
]

PROGRAM = f"""
import sys
assert not set(sys.modules) & set({FOREIGN}), "the environment itself imports them"
import atled
print(*sorted(set(sys.modules) & set({FOREIGN})))
"""


def test_import_brings_in_no_library():
    root = Path(__file__).parents[1]
    child = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(child, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
