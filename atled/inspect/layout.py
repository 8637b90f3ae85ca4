"""Place boxes in layers: the geometry of a drawn graph, in time near to linear in its size.

The steps are Sugiyama's (Sugiyama, Tagawa and Toda 1981): layers by the longest path, an order in
each layer by barycentres in a few sweeps, coordinates in which boxes stand as near to their
neighbours as their widths let them. A vertex is a box, or the bend of an edge in a layer that
it crosses; all edges out of one box share their bends.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Placed", "arrange", "layers_of"]

GAP = 22.0  # between boxes of one layer
LAYER_GAP = 36.0
BEND = 10.0  # width of a bend
SWEEPS = 8
MANY = 1500  # above so many vertices, half the sweeps

Edges = list[list[int]]  # for each vertex its neighbours


@dataclass
class Placed:
    """Where everything stands: box centres, and for each edge the points that it passes.

    A route is a list of (x, y) points in pairs: from the first to the second it bends, from
    the second to the third it runs straight down through a layer, and so on.
    """

    x: list[float]
    y: list[float]
    routes: list[tuple[list[tuple[float, float]], bool]]
    width: float
    height: float


@dataclass
class _Net:
    """All vertices: first the boxes, then the bends."""

    widths: list[float]
    layer: list[int]
    boxes: int
    up: Edges = field(default_factory=list)
    down: Edges = field(default_factory=list)

    def join(self, a: int, b: int) -> None:
        self.down[a].append(b)
        self.up[b].append(a)


def layers_of(parents: Sequence[Sequence[int]]) -> list[int]:
    """Return a layer for each box, below those of its parents; sources stand near their use.

    Args:
        parents: for each box its parents, which come before it.
    """
    layer = [0] * len(parents)
    children: Edges = [[] for _ in parents]
    for i, above in enumerate(parents):
        layer[i] = 1 + max((layer[p] for p in above), default=-1)
        for p in above:
            children[p].append(i)
    for i in reversed(range(len(parents))):  # side branches sink towards their use
        inner = sum(1 for p in parents[i] if parents[p])
        if children[i] and inner <= len(children[i]):
            layer[i] = min(layer[c] for c in children[i]) - 1
    least = min(layer, default=0)
    return [n - least for n in layer]


def arrange(
    widths: Sequence[float], heights: Sequence[float], layer: Sequence[int], parents: Edges
) -> Placed:
    """Place boxes of the given sizes and layers, and route the edges between them.

    Args:
        widths, heights: of each box.
        layer: of each box; larger than those of its parents.
        parents: for each box its parents, without repetition.
    """
    net = _with_bends(list(widths), list(layer), parents)
    rows = _rows(net, parents)
    sweeps = SWEEPS if len(net.widths) < MANY else SWEEPS // 2
    rows = _ordered(net, rows, sweeps)
    x = _across(net, rows, sweeps)
    return _drawn(net, rows, x, heights)


def _with_bends(widths: list[float], layer: list[int], parents: Edges) -> _Net:
    net = _Net(widths, layer, len(widths))
    net.up = [[] for _ in widths]
    net.down = [[] for _ in widths]
    bends: dict[tuple[int, int], int] = {}
    for child, above in enumerate(parents):
        for parent in above:
            last = parent
            for level in range(layer[parent] + 1, layer[child]):
                bend = bends.get((parent, level))
                if bend is None:
                    bend = bends[parent, level] = len(net.widths)
                    net.widths.append(BEND)
                    net.layer.append(level)
                    net.up.append([])
                    net.down.append([])
                    net.join(last, bend)
                last = bend
            net.join(last, child)
    return net


def _rows(net: _Net, parents: Edges) -> list[list[int]]:
    """Return the vertices of each layer, in the order in which a walk from the end meets them."""
    rows: list[list[int]] = [[] for _ in range(max(net.layer, default=-1) + 1)]
    seen = [False] * len(net.widths)
    ends = [v for v in range(net.boxes) if not net.down[v]]
    stack = ends[::-1]
    while stack:
        v = stack.pop()
        if not seen[v]:
            seen[v] = True
            rows[net.layer[v]].append(v)
            stack += reversed(net.up[v])
    return rows


# -- the order in each layer ------------------------------------------------------------------


def _ordered(net: _Net, rows: list[list[int]], sweeps: int) -> list[list[int]]:
    place = [0.0] * len(net.widths)
    _number(rows, place)
    best, least = [row[:] for row in rows], _crossings(net, rows, place)
    for sweep in range(sweeps):
        if not least:
            break
        down = sweep % 2 == 0
        neighbours = net.up if down else net.down
        for row in rows if down else reversed(rows):
            row.sort(key=lambda v: _barycentre(neighbours[v], place, place[v]))
            for i, v in enumerate(row):
                place[v] = i
        crossings = _crossings(net, rows, place)
        if crossings < least:
            best, least = [row[:] for row in rows], crossings
    return best


def _number(rows: list[list[int]], place: list[float]) -> None:
    for row in rows:
        for i, v in enumerate(row):
            place[v] = i


def _barycentre(neighbours: list[int], place: list[float], otherwise: float) -> float:
    if not neighbours:
        return otherwise
    return sum([place[n] for n in neighbours]) / len(neighbours)


def _crossings(net: _Net, rows: list[list[int]], place: list[float]) -> int:
    """Count the pairs of edges that cross between neighbouring layers."""
    count = 0
    for row in rows:
        ends: list[float] = []
        for v in row:
            below = sorted([place[n] for n in net.down[v]])
            count += sum([len(ends) - bisect_right(ends, p) for p in below])
            for p in below:
                insort(ends, p)
    return count


# -- coordinates ------------------------------------------------------------------------------


def _across(net: _Net, rows: list[list[int]], sweeps: int) -> list[float]:
    """Return the x of each vertex: the first sweep follows the parents, the others all."""
    x = [0.0] * len(net.widths)
    for row in rows:
        left = -sum(net.widths[v] + GAP for v in row) / 2
        for v in row:
            x[v] = left + (net.widths[v] + GAP) / 2
            left += net.widths[v] + GAP
    ups, downs, weights = _pulls(net, rows)
    for sweep in range(sweeps):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = []
            for v in row:
                near = ups[v] or downs[v] if sweep == 0 else ups[v] + downs[v]
                total = sum([weight for _, weight in near])
                wanted.append(sum([x[n] * weight for n, weight in near]) / total if near else x[v])
            places = _apart(wanted, [weights[v] for v in row], [net.widths[v] for v in row])
            for v, at in zip(row, places, strict=True):
                x[v] = at
    return x


Pulls = list[list[tuple[int, float]]]  # for each vertex its neighbours, each with a weight


def _pulls(net: _Net, rows: list[list[int]]) -> tuple[Pulls, Pulls, list[float]]:
    """Return how strongly neighbours attract each vertex, from above and below, and its weight.

    What lies on a longest path through the graph is its trunk: it stands straight and the rest
    gives way. Of a vertex's edges likewise those on its longest path pull most; an edge among
    many of one box pulls little.
    """
    depth, tail = [0] * len(net.widths), [0] * len(net.widths)
    for row in rows:
        for v in row:
            depth[v] = 1 + max([depth[n] for n in net.up[v]], default=0)
    for row in reversed(rows):
        for v in row:
            tail[v] = 1 + max([tail[n] for n in net.down[v]], default=0)

    def pull(near: list[int], length: list[int], back: Edges) -> list[tuple[int, float]]:
        longest = max([length[n] for n in near], default=0)
        return [(n, (1.0 if length[n] == longest else 0.01) / len(back[n])) for n in near]

    ups = [pull(near, depth, net.down) for near in net.up]
    downs = [pull(near, tail, net.up) for near in net.down]
    longest = max(depth, default=0)
    trunk = [depth[v] + tail[v] == longest + 1 for v in range(len(depth))]
    weights = [16.0 if trunk[v] else 4.0 if v >= net.boxes else 1.0 for v in range(len(depth))]
    return ups, downs, weights


def _apart(wanted: list[float], weights: list[float], widths: list[float]) -> list[float]:
    """Return the positions nearest to those wanted (least squares) at which nothing overlaps.

    With the widths to the left taken off, the positions must not decrease: an isotonic
    regression, solved by pooling neighbours that violate the order.
    """
    offsets, left = [], 0.0
    for i, width in enumerate(widths):
        left += 0.0 if i == 0 else (widths[i - 1] + width) / 2 + GAP
        offsets.append(left)
    pools: list[list[float]] = []  # sum of weights, weighted sum, number of members
    for want, weight, offset in zip(wanted, weights, offsets, strict=True):
        pools.append([weight, weight * (want - offset), 1])
        while len(pools) > 1 and pools[-2][1] * pools[-1][0] > pools[-1][1] * pools[-2][0]:
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    levels = [total / weight for weight, total, n in pools for _ in range(int(n))]
    return [level + offset for level, offset in zip(levels, offsets, strict=True)]


# -- the drawing ------------------------------------------------------------------------------


def _drawn(net: _Net, rows: list[list[int]], x: list[float], heights: Sequence[float]) -> Placed:
    left = min((x[v] - net.widths[v] / 2 for v in range(len(x))), default=0.0)
    x = [at - left for at in x]
    tall = [max([heights[v] for v in row if v < net.boxes], default=0.0) for row in rows]
    middle, top = [], 0.0
    for row, height in zip(rows, tall, strict=True):
        middle.append(top + height / 2)
        reach = max((abs(x[v] - x[n]) for v in row for n in net.down[v]), default=0.0)
        top += height + LAYER_GAP + min(90.0, 0.08 * reach)
    y = [middle[n] for n in net.layer]
    half = [heights[v] / 2 if v < net.boxes else tall[net.layer[v]] / 2 for v in range(len(x))]
    routes = []
    for child in range(len(x)):
        above = sorted(net.up[child], key=x.__getitem__)
        spread = min(16.0, 0.6 * net.widths[child] / max(1, len(above)))
        for i, parent in enumerate(above):
            shift = (i - (len(above) - 1) / 2) * spread
            end = (x[child] + shift, y[child] - half[child])
            route = [(x[parent], y[parent] + half[parent]), end]
            if child >= net.boxes:
                route.append((end[0], y[child] + half[child]))
            routes.append((route, child < net.boxes))
    width = max((x[v] + net.widths[v] / 2 for v in range(len(x))), default=0.0)
    height = max((y[v] + half[v] for v in range(len(x))), default=0.0)
    return Placed(x[: net.boxes], y[: net.boxes], routes, width, height)
