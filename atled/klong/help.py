"""Help at the prompt: on glyphs, names, and functions of the program itself.

What it says comes from the records: of verbs, of adverbs, of system functions. `topics.py` adds
syntax, variables, and examples.
"""

import textwrap
from inspect import cleandoc

from atled.klong.adverbs import TABLE
from atled.klong.context import Context
from atled.klong.system import SYSTEM
from atled.klong.topics import EXAMPLES, TOPICS, Topic
from atled.klong.values import Function, counted, kind_of
from atled.klong.verbs import VERBS

__all__ = ["apropos", "card", "entries", "help_on"]


def entries() -> list[Topic]:
    """Return everything that has help."""
    found = [Topic(v.glyph, v.name, _with_examples(v.help, "")) for v in VERBS.values()]
    for a in TABLE.values():
        text = _with_examples(a.make.__doc__ or "", f"{a.glyph}{a.arity}")
        found.append(Topic(a.glyph, a.name, text))
    for s in SYSTEM.values():
        found.append(Topic(s.name, s.title, _with_examples(s.help, s.name)))
    return found + [t._replace(text=cleandoc(t.text)) for t in TOPICS]


def _with_examples(text: str, key: str) -> str:
    return "\n".join([cleandoc(text), "", *EXAMPLES.get(key, [])]).strip()


def help_on(topic: str, context: Context | None = None) -> str:
    """Return the entries for a glyph, a name or a variable; what is similar if there is none.

    Args:
        topic: `+`, `+/`, `Plus`, `.jacobian`, `all`, or a name of the program; if empty, a card
            of all glyphs is returned.
        context: where the program's variables are.

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
    if not topic:
        return card()
    known = entries()
    if topic.lower() == "all":
        return "\n\n".join(map(_shown, known))
    found = [e for e in known if topic == e.glyph or topic.lower() == e.title.lower()]
    if found:
        return "\n\n".join(map(_shown, found))
    if context is not None and topic in context.variables:
        return _variable(topic, context.variables[topic])
    parts = _parts(topic, {e.glyph for e in known if not e.glyph[0].isalnum()})
    if len(parts) > 1:  # a verb with adverbs: +/ is + and /
        adverbs = {a.glyph for a in TABLE.values()}
        found = [e for e in known if e.glyph == parts[0]]
        found += [e for e in known if e.glyph in parts[1:] and e.glyph in adverbs]
        return "\n\n".join(map(_shown, found))
    return apropos(topic)


def _parts(text: str, glyphs: set[str]) -> list[str]:
    """Return the glyphs that a text consists of, the longest first; [] if it is something else."""
    parts, at = [], 0
    while at < len(text):
        glyph = next((text[at : at + n] for n in (2, 1) if text[at : at + n] in glyphs), None)
        if glyph is None:
            return []
        parts.append(glyph)
        at += len(glyph)
    return parts


def _variable(name: str, value: object) -> str:
    if not isinstance(value, Function):
        return f"{name} is {kind_of(value)}"
    text = value.definition.node.text if value.definition is not None else value.name
    doc = getattr(value.origin, "__doc__", None) or ""
    takes = "any number of arguments" if value.arity > 3 else counted(value.arity)
    first = f"{name}::{text}" if value.definition is not None else f"{name} of Python"
    return "\n".join(filter(None, [f"{first}  takes {takes}", cleandoc(doc)]))


def apropos(topic: str) -> str:
    """Return a line for each entry that mentions a topic."""
    wanted = topic.strip().lower()
    lines = [
        f"{e.glyph:<10} {e.title}"
        for e in entries()
        if wanted in e.title.lower() or wanted in e.text.lower()
    ]
    return "\n".join(lines) or f"there is no help on {topic.strip()!r}; ]h shows what there is"


def card() -> str:
    """Return all glyphs and names with their titles, in columns: what `]h` alone shows."""
    groups = [
        ("verbs with one operand", [(g, v.name) for (g, n), v in VERBS.items() if n == 1]),
        ("verbs between two operands", [(g, v.name) for (g, n), v in VERBS.items() if n == 2]),
        ("adverbs, behind a verb", [(g, a.name) for (g, _), a in TABLE.items()]),
        ("syntax and variables", [(t.glyph, t.title) for t in TOPICS]),
        ("system functions", [(s.name, s.title) for s in SYSTEM.values()]),
    ]
    out = []
    for title, pairs in groups:
        glyphs = max(len(glyph) for glyph, _ in pairs)
        cells = [f"{glyph:<{glyphs}}  {name}" for glyph, name in pairs]
        wide = max(map(len, cells)) + 3
        columns = max(1, 78 // wide)
        rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
        out.append(title)
        out += ["  " + "".join(f"{cell:<{wide}}" for cell in row).rstrip() for row in rows]
    out.append("]h + or ]h Plus explains one, ]a word finds the entries that mention a word")
    return "\n".join(out)


def _shown(entry: Topic) -> str:
    lines = [
        "    " + line.strip() if "  -->  " in line else line for line in entry.text.splitlines()
    ]
    return f"{entry.glyph} [{entry.title}]\n" + textwrap.indent("\n".join(lines), "  ")
