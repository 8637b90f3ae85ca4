"""Help on verbs, adverbs and system functions: by glyph or by the manual's name."""

from atled.klong.adverbs import TABLE
from atled.klong.system import SYSTEM
from atled.klong.verbs import VERBS

__all__ = ["apropos", "help_on"]


def _entries() -> list[tuple[str, str, str]]:
    """Return (glyph or name, title, text) of everything that has help."""
    verbs = [(v.glyph, v.name, v.help) for v in VERBS.values()]
    adverbs = [(a.glyph, a.name, a.make.__doc__ or "") for a in TABLE.values()]
    system = [(s.name, s.title, s.help) for s in SYSTEM.values()]
    return [*verbs, *adverbs, *system]


def help_on(topic: str) -> str:
    """Return the entries for a glyph or a name; what is similar if there is none.

    Example:
        >>> print(help_on("Reciprocal"))
        % [Reciprocal]
        %a: 1%a.
        <BLANKLINE>
            %1  -->  1.0
            %2  -->  0.5
            %0.1  -->  10.0
    """
    topic = topic.strip()
    if topic.lower() == "all":
        return "\n\n".join(map(_shown, _entries()))
    found = [
        entry for entry in _entries() if topic == entry[0] or topic.lower() == entry[1].lower()
    ]
    return "\n\n".join(map(_shown, found)) if found else apropos(topic)


def apropos(topic: str) -> str:
    """Return a line for each entry that mentions a topic."""
    wanted = topic.strip().lower()
    lines = [
        f"{glyph:<10} {title}"
        for glyph, title, text in _entries()
        if wanted in title.lower() or wanted in text.lower()
    ]
    return "\n".join(lines) or f"there is no help on {topic.strip()!r}"


def _shown(entry: tuple[str, str, str]) -> str:
    glyph, title, text = entry
    return f"{glyph} [{title}]\n{text.strip()}"
