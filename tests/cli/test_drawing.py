"""Drawings: ticks and curves, terminal pictures, and terminals that cannot show them."""

import io
import sys
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from atled.train.curves import chart, ticks
from atled.train.outcome import Mistake
from atled.train.terminal import bars, confusion_table, drawn, mistakes_drawn


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (0, 0.93), (0.61, 0.999), (0, 1e-5), (3, 3), (0, 12345), (0.97, 0.98), (-2, 2)],
)
def test_ticks_are_few_round_and_span_the_interval(low, high):
    marks = ticks(low, high)
    assert 3 <= len(marks) <= 8
    assert marks[0] <= low
    assert marks[-1] >= high
    assert len({round(b - a, 9) for a, b in pairwise(marks)}) == 1


@pytest.mark.parametrize("epochs", [1, 2, 13, 500])
def test_a_chart_is_xml_with_a_line_for_each(epochs):
    lines = [("training", "train", [0.5] * epochs), ("test", "test", [0.6] * epochs)]
    for percent in (False, True):
        root = ElementTree.fromstring(chart("a < b", lines, percent=percent))
        classes = [e.get("class", "") for e in root.iter()]
        assert sum("train" in c for c in classes) == 1
        assert sum("test" in c for c in classes) == 1
        assert 1 <= sum(e.tag == "text" for e in root.iter()) <= 24


def test_a_chart_passes_over_what_is_not_finite():
    assert "nan" not in chart("x", [("a", "train", [float("nan"), 1.0, float("inf")])])


def test_an_image_is_drawn_in_shades():
    lines = drawn([0.0, 0.25, 0.5, 0.75, 1.0, 0.0, 0.0, 0.0] + [0.0] * 56)
    assert lines == ["  ░░▒▒▓▓██" + " " * 6, *[" " * 16] * 7]


def test_a_terminal_without_such_characters(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    texts = [
        *drawn([0.3, 0.5, 1.0, *[0.0] * 61]),
        bars([0.9, 0.1]),
        confusion_table([[0] * 10] * 10),
    ]
    for text in texts:
        text.encode("ascii")
    assert texts[0].startswith("..::##")


def test_mistakes_stand_side_by_side(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    mistakes = [Mistake([1.0] * 64, n, 3, 8, 0.1, 0.8) for n in range(9)]
    text = mistakes_drawn(mistakes)
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("3, not 8") == 6
    assert "(10 %, 80 %)" in text


def test_the_confusion_table_lines_up():
    table = confusion_table([[36 if i == j else 0 for j in range(10)] for i in range(10)])
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split() == ["digit", "0", "│", "36", *"·" * 9]
