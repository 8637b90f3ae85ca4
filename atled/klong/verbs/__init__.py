"""The verbs of Klong: one record each, in a table by glyph and number of operands."""

from atled.klong.verbs import arithmetic, calculus, comparison, indexing, shape, text
from atled.klong.verbs.record import VERBS, Verb

__all__ = ["VERBS", "Verb"]
