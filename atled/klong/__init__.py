"""Klong: an array language whose every function has an exact derivative.

The rooms, from the bottom: `limits`; `values`, `arrays`, `match`, `printer` (data); `lexemes`,
`literals`, `reader` (text to tree); `derivatives`; `reads`, `program`, `compiled` (native code);
`verbs/`, `folds`, `adverbs` (the tables); `link`, `operands`, `chains`, `calls` (tree to
closures); `system`, `channels`, `bridge`; `interpreter`; `repl`, `command`. docs/klong.md is the
tour.
"""

from atled.klong.errors import KlongError, KlongExit
from atled.klong.interpreter import KlongInterpreter
from atled.klong.optimizers import AdamOptimizer, SGDOptimizer
from atled.klong.values import UNDEFINED, Char, Dictionary, KlongSymbol

__all__ = [
    "UNDEFINED",
    "AdamOptimizer",
    "Char",
    "Dictionary",
    "KlongError",
    "KlongExit",
    "KlongInterpreter",
    "KlongSymbol",
    "SGDOptimizer",
]
