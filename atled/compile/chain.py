"""Products with what follows them: a bias, an activation, a norm on a block still in the cache.

A kernel that needs of each row of a product that row only is run on a block of rows as soon as
the block is there. One step does both: no barrier stands between them, and the product is read
again from the nearest cache.
"""

import hashlib

from atled.compile.flow import Body
from atled.compile.matrix import BLOCK, Product, is_ours, product
from atled.compile.steps import Step

__all__ = ["chained", "is_chainable"]

BLOCKS = 16  # of a product, at most
TILE = 8  # rows: blocks are multiples of it, but for the last


def chained(steps: list[Step]) -> list[Step]:
    """Return the steps with each product joined to the kernel that works on its rows."""
    writers = {v: s for s in steps for v in s.writes}
    needs = {s: {writers[v] for v in s.reads if v in writers} - {s} for s in steps}
    joined: dict[Step, Step] = {}
    for step in steps:
        if step.product is None:
            continue
        follower = _follower(step, steps, needs, joined)
        if follower is not None:
            made = _joined(step, follower)
            joined[step] = joined[follower] = made
            needs[made] = (needs[step] | needs[follower]) - {step, follower}
            for other in needs.values():
                if not other.isdisjoint((step, follower)):
                    other -= {step, follower}
                    other.add(made)
    return list(dict.fromkeys(joined.get(step, step) for step in steps))


def _follower(
    step: Step, steps: list[Step], needs: dict[Step, set[Step]], joined: dict[Step, Step]
) -> Step | None:
    """Return a kernel that may run on each block of a product's rows at once."""
    (value,) = step.writes
    p = step.product
    for other in steps:
        if other.kind != "kernel" or other in joined or value not in other.reads:
            continue
        if value not in other.row_local or not other.units_per_row(p.m):
            continue
        if not any(_leads(step, need, needs) for need in needs[other] - {step}):
            return other
    return None


def _leads(a: Step, b: Step, needs: dict[Step, set[Step]]) -> bool:
    """Say whether b waits for a, directly or through others."""
    stack, seen = [b], {b}
    while stack:
        step = stack.pop()
        if step is a:
            return True
        for need in needs.get(step, set()) - seen:
            seen.add(need)
            stack.append(need)
    return False


def _joined(first: Step, second: Step) -> Step:
    """Return one step for a product and a kernel on its rows."""
    p: Product = first.product
    count = max(1, min(BLOCKS, p.m // TILE, p.m * p.n * p.k // BLOCK))
    rows = -(-p.m // count // TILE) * TILE if count > 1 else p.m
    count = -(-p.m // rows)
    arrays = list(dict.fromkeys([*first.arrays, *second.arrays]))
    step = Step(f"{first.title}, {second.title}", arrays, [*first.writes, *second.writes])
    names = {key: f"%a{i}" for i, key in enumerate(arrays)}
    body = Body()
    with body.when(body.emit("icmp slt i64 %begin, %end")), body.loop("%begin", "%end") as block:
        last = body.emit(f"icmp eq i64 {block.index}, {count - 1}")
        row = body.place((block.index, rows))
        _multiply(step, body, p, [names[key] for key in first.arrays], row, last, rows, count)
        per = second.units_per_row(p.m)
        begin = body.place((row, per))
        stop = body.emit(f"add i64 {begin}, {rows * per}")
        stop = body.emit(f"select i1 {last}, i64 {p.m * per}, i64 {stop}")
        pointers = ", ".join(f"ptr {names[key]}" for key in second.arrays)
        body.do(f"call void @{second.name}({pointers}, i64 {begin}, i64 {stop}, ptr %scratch)")
    parameters = (
        ", ".join(f"ptr {n}" for n in names.values()) + ", i64 %begin, i64 %end, ptr %scratch"
    )
    text = body.function("NAME", parameters)
    step.name = "chain" + hashlib.sha256(text.encode()).hexdigest()[:16]
    step.texts |= second.texts | {step.name: text.replace("@NAME", f"@{step.name}")}
    step.declarations |= body.declarations | second.declarations
    step.units, step.scratch, step.flops = count, second.scratch, first.flops + second.flops
    step.cost = (first.cost * first.units + second.cost * second.units) / count
    step.dynamic = second.dynamic
    operands = {v for v, _ in first.arrays}
    step.in_order = {(t, s) for t, s in second.in_order if s not in operands}
    return step


def _multiply(
    step: Step, body: Body, p: Product, pointers: list[str], row: str, last: str, rows: int,
    count: int,
) -> None:  # fmt: skip
    """Write the product of one block of rows."""
    a, b, c = pointers
    a = body.offset(a, body.place((row, p.a_row)), p.type)
    c = body.offset(c, body.place((row, p.c_row)), p.type)
    whole, rest = p._replace(m=min(rows, p.m)), p._replace(m=p.m - rows * (count - 1))
    for part in dict.fromkeys((whole, rest)):
        name, text, declarations = product(part)
        step.texts[name] = text
        step.declarations |= declarations
    call = "call void @{}(" + f"ptr {a}, ptr {b}, ptr {c})"
    if whole == rest:
        body.do(call.format(product(whole)[0]))
        return
    with body.when(last):
        body.do(call.format(product(rest)[0]))
    with body.when(body.emit(f"xor i1 {last}, true")):
        body.do(call.format(product(whole)[0]))


def is_chainable(p: Product) -> bool:
    """Say whether a product may be computed in blocks of rows as well as in one piece."""
    return p.m >= 2 * TILE and p.n > 1 and is_ours(p) and is_ours(p._replace(m=TILE))
