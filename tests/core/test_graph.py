"""Graphs: the text form, reading it back, and what the verifier refuses."""

import pytest

from atled.core.graph import Graph, GraphError, Value, ordered, parse, verify
from atled.dtypes import bool_, float32, float64, int64

TEXTS = {
    "elementwise": """
graph(%0: float32[2,3], %1: float32[3]) {
  %2: float32[2,3] = broadcast_to(%1, shape=(2,3,))
  %3: float32[2,3] = multiply(%0, %2)
  %4: bool[2,3] = less(%3, %2)
  %5: float32[2,3] = where(%4, %3, %2)
  return %5
}""",
    "numbers": """
graph() {
  %0: float32[] = constant(dtype=float32, value=-inf)
  %1: float64[] = constant(dtype=float64, value=0.1)
  %2: int64[] = constant(dtype=int64, value=-3)
  %3: bool[] = constant(dtype=bool, value=True)
  return %0, %1, %2, %3
}""",
    "movement": """
graph(%0: float32[4,6]) {
  %1: float32[2,6] = slice(%0, index=((3,None,-2,),(0,6,1,),))
  %2: float32[6,2] = permute_dims(%1, axes=(1,0,))
  %3: float32[12] = reshape(%2, shape=(12,))
  %4: float32[20] = place(%3, index=((4,16,1,),), shape=(20,))
  %5: float32[32] = concat(%4, %3, axis=0)
  return %5
}""",
    "reductions": """
graph(%0: float32[4,6]) {
  %1: float32[4] = sum(%0, axis=(1,))
  %2: int64[6] = argmax(%0, axis=(0,))
  %3: bool[4,6] = isnan(%0)
  %4: bool[] = any(%3, axis=(0,1,))
  return %1, %2, %4, %0
}""",
    "calls": """
graph(%0: float32[4,4], %1: int64[2]) {
  %2: float32[2,4] = gather_nd(%0, %1)
  %3: float32[4,4] = scatter_nd_add(%0, %2, %1)
  %4: float32[2,4] = matmul(%2, %3)
  %5: float32[4] = call(%4, dtype=float32, given=(('axis',0,),), name='median', shape=(4,))
  return %5, %5
}""",
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_is_the_graph(name):
    text = TEXTS[name].strip()
    graph = verify(parse(text))
    assert str(graph) == text
    assert parse(str(graph)) == graph


def x(*shape, dtype=float32):
    return Value("input", (), {}, shape, dtype)


def test_values_stand_in_an_order_in_which_they_can_be_computed():
    a = x(3)
    b = Value.of("exp", a)
    c = Value.of("add", b, a)
    unused = Value.of("sin", a)
    graph = Graph([a], [c, b])
    assert graph.values == [a, b, c]
    assert unused not in graph.values
    assert graph.users()[a] == [b, c]
    assert ordered([], [b, c]) == [a, b, c]


def test_a_long_chain_needs_no_recursion():
    v = a = x()
    for _ in range(50_000):
        v = Value.of("negative", v)
    assert len(Graph([a], [v]).values) == 50_001


def test_not_equal_to_other_things():
    graph = Graph([], [])
    assert graph != "graph() {\n  return \n}"
    assert graph == Graph([], [])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda a: Value("frobnicate", (a,), {}, (3,), float32), "no primitive is called"),
        (lambda a: Value("exp", (a,), {}, (4,), float32), "should be"),
        (lambda a: Value("exp", (a,), {}, (3,), float64), "should be"),
        (lambda a: Value("less", (a, a), {}, (3,), float32), "should be"),
        (lambda a: Value("input", (), {}, (3,), float32), "not among the graph's inputs"),
        (
            lambda a: Value("add", (a, Value.of("astype", a, dtype=int64)), {}, (3,), int64),
            "several dtypes",
        ),
    ],
)
def test_the_verifier_refuses(make, message):
    a = x(3)
    with pytest.raises(GraphError, match=message):
        verify(Graph([a], [make(a)]))


@pytest.mark.parametrize(
    ("op", "shapes", "static", "message"),
    [
        ("add", [(3,), (2,)], {}, "operands of an elementwise operation have one shape"),
        ("reshape", [(3,)], {"shape": (2,)}, "has not the elements"),
        ("broadcast_to", [(3,)], {"shape": (3, 2)}, "do not broadcast"),
        ("matmul", [(2, 3), (4, 5)], {}, "does not fit"),
    ],
)
def test_operations_refuse_shapes(op, shapes, static, message):
    with pytest.raises(ValueError, match=message):
        Value.of(op, *[x(*s) for s in shapes], **static)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("graph() {\n  nonsense\n  return \n}", "not a line of a graph"),
        ("graph() {", "no line `return`"),
    ],
)
def test_the_parser_refuses(text, message):
    with pytest.raises(GraphError, match=message):
        parse(text)


def test_sizes():
    v = x(3, 4, dtype=bool_)
    assert (v.size, v.bytes, repr(v)) == (12, 12, "<input bool[3,4]>")
