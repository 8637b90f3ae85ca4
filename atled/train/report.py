"""The report of a run: one HTML page that needs nothing else, in light and in dark.

Curves and the graph of a step are inline SVG, images are PNG in the page itself.
"""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from atled.data.digits import CLASSES, SIDE
from atled.data.png import write_png
from atled.train.curves import chart
from atled.train.models import MODELS
from atled.train.outcome import Mistake, Outcome
from atled.train.style import STYLE

__all__ = ["page"]

SHOWN = 24  # mistakes
_ABOUT = {"data": "the digits that ship with atled"}


def page(options: Mapping[str, Any], model: Any, history: Sequence[Mapping[str, Any]],
         outcome: Outcome, graph: str, versions: Mapping[str, str],
         counts: tuple[int, int]) -> str:  # fmt: skip
    """Return the whole page.

    Args:
        options: of the run, by name.
        model: the trained network.
        history: a line for each epoch.
        outcome: what it makes of the test images.
        graph: one training step as SVG.
        versions: of what it was made with.
        counts: how many images trained, and how many tested.
    """
    name = f"{options['model']} on hand-written digits"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(name)}</title><style>{STYLE}</style></head><body>",
        _head(options, history, outcome, counts, model),
        _curves(history),
        _confusion(outcome),
        _mistakes(outcome.mistakes),
        "<h2>One training step</h2>",
        '<p class="note">How the loss of one batch is computed from the parameters (green), from '
        "top to bottom; the derivatives go the same way back. Rest the pointer on a box to see "
        "its rule.</p>",
        f'<div class="graph">{graph}</div>',
        "<h2>Options</h2>",
        _table({k.replace("_", "-"): _option(k, v) for k, v in options.items()}),
        "<h2>Made with</h2>",
        _table(versions),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _head(options: Mapping[str, Any], history: Sequence[Mapping[str, Any]], outcome: Outcome,
          counts: tuple[int, int], model: Any) -> str:  # fmt: skip
    seconds = sum(row["seconds"] for row in history)
    parameters = sum(p.size for p in model.parameters())
    scores = [
        (f"{100 * outcome.accuracy:.2f} %", f"right of {counts[1]:,} test images"),
        (f"{outcome.loss:.4f}", "mean cross-entropy on them"),
        (f"{parameters:,}", f"parameters: {MODELS[options['model']].about}"),
        (_duration(seconds), f"for {len(history)} epochs of {counts[0]:,} images"),
    ]
    boxes = "".join(f"<div><b>{escape(a)}</b><span>{escape(b)}</span></div>" for a, b in scores)
    return (
        f"<header><h1>{escape(options['model'].upper())} on hand-written digits</h1>"
        f"<p>trained by atled's {escape(options['backend'])} backend, seed {options['seed']}</p>"
        f'<div class="score">{boxes}</div></header>'
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {round(seconds) % 60} s"


def _curves(history: Sequence[Mapping[str, Any]]) -> str:
    if not history:
        return ""
    keys = '<span class="key train">training</span><span class="key test">test</span>'
    charts = []
    for what, percent in (("loss", False), ("accuracy", True)):
        lines = [
            (part, kind, [row[f"{kind}_{what}"] for row in history])
            for part, kind in (("training", "train"), ("test", "test"))
        ]
        drawn = chart(f"{what} by epoch", lines, percent=percent)
        charts.append(f"<figure><figcaption><b>{what}</b>{keys}</figcaption>{drawn}</figure>")
    note = (
        '<p class="note">Noise is added to the images that are trained on, so the test images may '
        "come off better.</p>"
    )
    return f'<h2>Curves</h2>{note}<div class="pair">{"".join(charts)}</div>'


def _confusion(outcome: Outcome) -> str:
    head = "".join(f"<th>{digit}</th>" for digit in range(CLASSES))
    rows = []
    for digit, row in enumerate(outcome.confusion):
        most = max(1, sum(row))
        cells = "".join(_cell(n, most, digit == other) for other, n in enumerate(row))
        rows.append(f"<tr><th>{digit}</th>{cells}</tr>")
    return (
        '<h2>Confusion</h2><p class="note">A row for each digit, a column for what it was taken '
        "for.</p>"
        f'<div class="scroll"><table class="confusion"><tr><th></th>{head}</tr>'
        f"{''.join(rows)}</table></div>"
    )


def _cell(n: int, most: int, right: bool) -> str:
    if not n:
        return '<td class="zero">0</td>'
    strength = 0.12 + 0.5 * n / most if right else min(0.75, 0.25 + 1.5 * n / most)
    colour = "right" if right else "wrong"
    return f'<td style="background: rgba(var(--{colour}), {strength:.2f})">{n}</td>'


def _mistakes(mistakes: Sequence[Mistake]) -> str:
    if not mistakes:
        return '<h2>Mistakes</h2><p class="note">None.</p>'
    more = f"The {SHOWN} worst of {len(mistakes)}" if len(mistakes) > SHOWN else "The worst first"
    figures = "".join(map(_mistake, mistakes[:SHOWN]))
    return (
        f'<h2>Mistakes</h2><p class="note">{more}: what it is, what it was taken for, and the '
        f'probabilities that the model gives to the two.</p><div class="mistakes">{figures}</div>'
    )


def _mistake(m: Mistake) -> str:
    rows = [[1.0 - ink for ink in m.image[i : i + SIDE]] for i in range(0, SIDE * SIDE, SIDE)]
    data = base64.b64encode(write_png(None, rows)).decode("ascii")
    return (
        f'<figure><img alt="image {m.number}, a {m.label}" src="data:image/png;base64,{data}">'
        f"<figcaption><b>{m.label}, not {m.guess}</b><br>{100 * m.doubt:.1f} %, "
        f"{100 * m.belief:.1f} %<br>image {m.number}</figcaption></figure>"
    )


def _option(name: str, value: Any) -> str:
    return _ABOUT.get(name, "") if value is None else str(value)


def _table(entries: Mapping[str, str]) -> str:
    cells = "".join(
        f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in entries.items() if v
    )
    return f"<dl>{cells}</dl>"
