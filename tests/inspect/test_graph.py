"""Drawn graphs: well-formed, complete, without overlaps, and never too large for the stack."""

import random
from xml.etree import ElementTree

import pytest

import atled as at
from atled.errors import GradError
from atled.inspect import graph
from atled.inspect.layout import GAP, arrange, layers_of
from atled.inspect.svg import Box, clean, draw, measure, text_width

SVG = "{http://www.w3.org/2000/svg}"


def leaf(*shape):
    return at.ones(shape, requires_grad=True)


def read(drawn):
    root = ElementTree.fromstring(drawn.svg)
    boxes = []
    for g in root.iter(f"{SVG}g"):
        rect = g.find(f"{SVG}rect")
        if rect is not None:
            texts = [t.text for t in g.findall(f"{SVG}text")]
            title = g.find(f"{SVG}title")
            place = [float(rect.get(k)) for k in ("x", "y", "width", "height")]
            boxes.append((texts, "" if title is None else title.text, place))
    return root, boxes


def names(drawn):
    return [texts[0] for texts, _, _ in read(drawn)[1]]


def test_a_diamond():
    a = leaf(3)
    drawn = graph((a.sin() * a.cos()).sum(), names={"a": a})
    assert names(drawn) == ["a", "sin", "cos", "multiply", "sum"]
    _, boxes = read(drawn)
    assert boxes[0][0] == ["a", f"(3,) {a.dtype.name}"]
    assert "no .grad yet" in boxes[0][1]
    assert "∂/∂x = cos(x)" in boxes[1][1]
    assert f"saved x: (3,) {a.dtype.name}, {3 * a.dtype.itemsize} B" in boxes[1][1]
    top = [y for _, _, (_, y, _, _) in boxes]
    assert top[0] < top[1] == top[2] < top[3] < top[4]


def test_it_is_shown_and_saved(tmp_path):
    drawn = graph(leaf(2).sum())
    assert drawn._repr_svg_() == drawn.svg
    assert repr(drawn).startswith("<graph of 2 nodes")
    drawn.save(tmp_path / "g.svg")
    assert (tmp_path / "g.svg").read_text(encoding="utf-8") == drawn.svg


def test_names_come_from_a_module_too():
    class Module:
        w = leaf(2)

        def named_parameters(self):
            yield "layer.w", self.w

    m = Module()
    assert "layer.w" in names(graph(m.w.sum(), names=m))
    h = m.w.sin()
    assert "= hidden" in graph(h.sum(), names={"hidden": h, "n": 3}).svg
    with pytest.raises(TypeError, match="names must be a dict from name to Tensor, or a module"):
        graph(m.w.sum(), names=[m.w])


def test_text_is_escaped():
    w = leaf(2)
    drawn = graph(w.sum(), names={'<w> & "q" \x00 ∂ 漢': w})
    assert '<w> & "q"  ∂ 漢' in names(drawn)
    assert clean("a<b\x07\ud800") == "a&lt;b"


def test_a_constant_has_no_graph():
    with pytest.raises(GradError, match="does not depend on anything that requires a gradient"):
        graph(at.ones((2,)))


def test_too_many_nodes_are_refused():
    x = leaf(2)
    for _ in range(20):
        x = x.sin()
    with pytest.raises(ValueError, match=r"21 nodes behind this Tensor, more than max_nodes=10"):
        graph(x, max_nodes=10)


def test_movements_fold():
    x = leaf(2, 3)
    y = x.reshape(3, 2).permute_dims((1, 0)).reshape(6)
    assert names(graph(y.sin())) == ["(2, 3)", "reshape · permute_dims · reshape", "sin"]
    assert len(names(graph(y.sin(), fold=False))) == 5
    long = x
    for _ in range(5):
        long = long.reshape(3, 2).reshape(2, 3)
    assert "reshape · (8 more) · reshape" in names(graph(long))
    used_twice = x.reshape(6)
    assert len(names(graph(used_twice.reshape(3, 2).sum() + used_twice.sum()))) == 6


def test_several_results_fold():
    class Both(at.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2.0, x.sum()

        @staticmethod
        def backward(ctx, g, h):
            return 2.0 * g + h

    a, b = Both.apply(leaf(3))
    drawn = graph(a * b)
    assert names(drawn) == ["(3,)", "Both", "multiply"]
    assert "(3,), ()" in drawn.svg
    assert len(names(graph(a * b, fold=False))) == 5


def test_a_leaf_used_far_apart_is_drawn_at_each_place():
    w, h = leaf(2), leaf(2)
    for _ in range(9):
        h = (h * w).sin()
    assert names(graph(h, names={"w": w})).count("w") > 2


def test_a_result_used_far_below_is_referred_to():
    first = h = leaf(2).exp()
    for _ in range(30):
        h = h.sin()
    texts = [t for texts, _, _ in read(graph(h + first))[1] for t in texts]
    assert "%1 exp" in texts
    assert "%1" in texts


def test_a_freed_graph_is_drawn():
    y = leaf(2).sin().sum()
    y.backward()
    assert "(freed)" in graph(y).svg


def test_a_long_chain_does_not_recurse():
    x = leaf(1)
    for _ in range(3000):
        x = x.sin()
    assert len(names(graph(x))) == 3001


def random_dag(seed, count):
    dice = random.Random(seed)
    return [sorted(dice.sample(range(max(0, i - 9), i), min(i, dice.randint(1, 3))))
            for i in range(count)]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_boxes_do_not_overlap_and_text_fits(seed):
    parents = random_dag(seed, 60)
    boxes = [Box(f"operation {'m' * (i % 7)}", [f"({i}, {i})"], "opaque", parents=p)
             for i, p in enumerate(parents)]  # fmt: skip
    sizes = [measure(b) for b in boxes]
    layer = layers_of(parents)
    assert all(layer[p] < layer[i] for i, above in enumerate(parents) for p in above)
    placed = arrange([w for w, _ in sizes], [h for _, h in sizes], layer, parents)
    for i, (w, _) in enumerate(sizes):
        assert text_width(boxes[i].title, 13) < w
        assert w / 2 - 1e-6 <= placed.x[i] <= placed.width - w / 2 + 1e-6
        for j in range(i):
            if layer[i] == layer[j]:
                assert abs(placed.x[i] - placed.x[j]) >= (w + sizes[j][0]) / 2 + GAP - 1e-6
            else:
                apart = abs(placed.y[i] - placed.y[j])
                assert apart > (sizes[i][1] + sizes[j][1]) / 2
    ElementTree.fromstring(draw(boxes, placed))


def test_edges_pass_between_boxes():
    # 0 -> 1 -> 2 -> 3 and 0 -> 3: the long edge bends around 1 and 2.
    parents = [[], [0], [1], [0, 2]]
    placed = arrange([80.0] * 4, [40.0] * 4, layers_of(parents), parents)
    for route, _ in placed.routes:
        for x, y in route[1:]:
            for i in (1, 2):
                inside = abs(x - placed.x[i]) < 40 and abs(y - placed.y[i]) < 20
                assert not inside


def test_a_source_stands_above_its_first_use():
    #  0 -> 1 -> 2 -> 4 <- 3
    assert layers_of([[], [0], [1], [], [2, 3]]) == [0, 1, 2, 2, 3]


def test_nothing_to_place():
    assert layers_of([]) == []
    placed = arrange([], [], [], [])
    assert (placed.width, placed.height, placed.routes) == (0.0, 0.0, [])
