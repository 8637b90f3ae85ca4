"""Writing what a kernel's loops compute: expressions as instructions, once for each scope.

What depends on no loop is computed before all of them, what depends on a row once for the row,
as a scalar if it is the same for all lanes; only the rest stands in the innermost loop.
"""

import math
from collections import Counter

from atled.compile.index import Affine, Var
from atled.compile.ir import BOOL, I64, Type, Writer
from atled.compile.kernel import Expr, Loops, Store, expressions
from atled.compile.operations import COSTS, memory_type, operation, register_type
from atled.compile.vectorise import STRIDED, row_vector
from atled.core.graph import Value
from atled.dtypes import DType, bool_, int64

__all__ = ["Expressions"]

LONG = 12  # cycles: operations that take longer become functions where they stand often,
OFTEN = (4, 12)  # as scalars, or as vectors, which a call makes go through memory


class Expressions:
    """Writes expressions, loads and stores of one kernel.

    Attributes:
        by_rows: whether a loop over rows is vectorised, and not inner ones.
        vector: the loop that is vectorised here, if any.
        width, lanes: elements of a vector; of a vector here, or 1.
        entry, row, body: where text goes that is computed once, for each row, or for each
            vector of inner elements; there is no body outside the inner loops.
        mask: which lanes count, where a vector is longer than what is left.
        values: registers of the members that are known here, and how many lanes they have.
        cost: cycles so far, about.
    """

    def __init__(self, loops: Loops, vector_bytes: int) -> None:
        self.loops = loops
        self.depends: dict[int, frozenset[Var]] = {}
        self.row_vars = frozenset(loops.rows)
        self.width = self._lanes(vector_bytes)
        self.vector = row_vector(loops, self.width)
        self.by_rows = self.vector is not None
        self.lanes = self.width if self.by_rows else 1
        self.rows = sorted(loops.rows, key=lambda v: v is self.vector)  # the vectors' one last
        self.arrays = {
            v: f"%b{i}" for i, v in enumerate(dict.fromkeys(loops.sources + loops.targets))
        }
        self.entry = Writer()
        self.row = Writer(self.entry)
        self.body: Writer | None = None
        self.known: list[dict[int, str]] = [{}, {}, {}]  # by scope: function, row, inner loop
        self.values: dict[Value, tuple[str, int]] = {}  # a row's own values, and this pass's
        self.counters: dict[Var, str] = {}
        self.mask: str | None = None
        self.scratch: dict[Value, int] = {}
        self.cost = 0.0
        work = {
            e for p in loops.passes for s in p.stores + p.reductions for e in expressions(s.expr)
        }
        self.often = Counter(e.op for e in work if COSTS.get(e.op, 1) >= LONG)

    def _lanes(self, vector_bytes: int) -> int:
        """Return how many elements a vector has: of the widest numbers that differ in a loop."""
        sizes = {
            e.dtype.itemsize
            for p in self.loops.passes
            for s in p.stores + p.reductions
            for e in expressions(s.expr)
            if e.dtype.is_floating_point and (e.op == "member" or self._depends(e))
        }
        return max(1, vector_bytes // max(sizes, default=8))

    def _depends(self, expr: Expr) -> frozenset[Var]:
        """Return the loops that an expression's value differs in."""
        found = self.depends.get(id(expr))
        if found is None:
            found = frozenset(expr.at.terms).union(*[a.terms for a, _, _ in expr.guards])
            if expr.op == "member":
                found |= self.row_vars
            for arg in expr.args:
                found |= self._depends(arg)
            self.depends[id(expr)] = found
        return found

    def _lanes_of(self, expr: Expr) -> int:
        if expr.op == "member" and expr.source in self.values and expr.static != "elsewhere":
            return self.values[expr.source][1]
        if expr.op == "member" or not expr.args:
            return self.lanes if self.vector in self._depends(expr) else 1
        own = self.lanes if self.vector in expr.at.terms or self._is_guarded(expr) else 1
        return max([own, *[self._lanes_of(arg) for arg in expr.args]])

    def _is_guarded(self, expr: Expr) -> bool:
        return any(self.vector in a.terms for a, _, _ in expr.guards)

    def _register(self, expr: Expr, lanes: int) -> str:
        """Return the register of an expression, repeated to `lanes` if it is one number."""
        own = self._lanes_of(expr)
        scope = self._scope(expr)
        known = self.known[scope]
        register = known.get(id(expr))
        w = self._writer(scope)
        if register is None:
            register = known[id(expr)] = self._emit(w, expr, own)
        if own == lanes:
            return register
        return self._splat(w, register, register_type(expr.dtype, 1), own, lanes)

    def _scope(self, expr: Expr) -> int:
        if self.body is None:
            return 0 if not self._depends(expr) and expr.op != "member" else 1
        depends = self._depends(expr)
        if expr.op != "member" and not depends:
            return 0
        inner = any(v not in self.row_vars for v in depends) or self._of_pass(expr)
        return 2 if inner else 1

    def _writer(self, scope: int) -> Writer:
        if scope == 0:
            return self.entry
        return self.row if scope == 1 or self.body is None else self.body

    def _emit(self, w: Writer, expr: Expr, lanes: int) -> str:
        kind = register_type(expr.dtype, lanes)
        if expr.op == "constant":
            return kind.const(expr.static)
        if expr.op == "place":
            return self._index(w, expr.at, lanes)
        if expr.op == "member":
            if expr.static != "elsewhere" and expr.source in self.values:
                return self.values[expr.source][0]
            return self._recalled(w, expr, lanes)
        if expr.op == "load":
            return self._load(w, expr, lanes)
        if expr.op == "guarded":
            inside = self._register(expr.args[0], lanes)
            bits = BOOL._replace(lanes=lanes)
            test = self._test(w, expr, lanes)
            return w.emit(f"select {bits} {test}, {kind} {inside}, {kind} {kind.const(0)}")
        args = [self._register(arg, lanes) for arg in expr.args]
        source = expr.args[-1].dtype
        if self._scope(expr) != 0:
            self.cost += COSTS.get(expr.op, 1)
        if self.often[expr.op] > OFTEN[lanes > 1]:
            return self._called(w, expr, source, args, lanes)
        return operation(w, expr.op, expr.dtype, source, lanes, args, expr.static)

    def _called(self, w: Writer, expr: Expr, source: DType, args: list[str], lanes: int) -> str:
        """Call a function for an operation that is long and stands in a kernel many times.

        A chain of 800 scalar operations with a sine in each fourth compiles in a fifth of the time.
        """
        kinds = [register_type(arg.dtype, lanes) for arg in expr.args]
        result = register_type(expr.dtype, lanes)
        inside = Writer()
        names = [f"%x{i}" for i in range(len(args))]
        y = operation(inside, expr.op, expr.dtype, source, lanes, names, expr.static)
        parameters = ", ".join(f"{k} {n}" for k, n in zip(kinds, names, strict=True))
        options = "".join(f"_{value}" for _, value in expr.static or ())
        name = f"@{expr.op}_{kinds[-1].suffix}{options}"
        for line in inside.declarations:
            w.declare(line)
        w.declare(f"define internal {result} {name}({parameters}) noinline nounwind {{\n"
                  f"{inside.text()}\n  ret {result} {y}\n}}")  # fmt: skip
        values = ", ".join(f"{k} {a}" for k, a in zip(kinds, args, strict=True))
        return w.emit(f"call {result} {name}({values})")

    def _splat(self, w: Writer, x: str, scalar: Type, have: int, lanes: int) -> str:
        if have == lanes:
            return x
        if x[0] != "%":  # a constant
            return f"splat ({scalar} {x})"
        kind = scalar._replace(lanes=lanes)
        first = w.emit(f"insertelement {kind} poison, {scalar} {x}, i64 0")
        return w.emit(f"shufflevector {kind} {first}, {kind} poison, "
                      f"<{lanes} x i32> zeroinitializer")  # fmt: skip

    def _offset(self, w: Writer, at: Affine) -> str:
        """Return the place of the first lane."""
        total = str(at.constant)
        for var, k in at.terms.items():
            counter = self.counters[var]
            term = counter if k == 1 else w.emit(f"mul i64 {counter}, {k}")
            total = term if total == "0" else w.emit(f"add i64 {total}, {term}")
        return total

    def _index(self, w: Writer, at: Affine, lanes: int) -> str:
        """Return the place of every lane, as integers."""
        first = self._offset(w, at)
        if lanes == 1:
            return first
        kind = I64._replace(lanes=lanes)
        k = at.coefficient(self.vector) if self.vector is not None else 0
        steps = ", ".join(f"i64 {i * k}" for i in range(lanes))
        return w.emit(f"add {kind} {self._splat(w, first, I64, 1, lanes)}, <{steps}>"
                      if first[0] == "%" else
                      f"add {kind} splat (i64 {first}), <{steps}>")  # fmt: skip

    def _test(self, w: Writer, expr: Expr, lanes: int) -> str:
        """Return, for each lane, whether it is within an expression's guards."""
        whole, bits = I64._replace(lanes=lanes), BOOL._replace(lanes=lanes)
        result = ""
        for at, low, high in expr.guards:
            inside = self._index(w, at + -low, lanes)
            width = whole.const(high - low)
            test = w.emit(f"icmp ult {whole} {inside}, {width}")
            result = test if not result else w.emit(f"and {bits} {result}, {test}")
        return result or bits.const(1)

    def _load(self, w: Writer, expr: Expr, lanes: int) -> str:
        """Load an expression's lanes; nothing is touched where a guard says that there is none."""
        if not expr.guards:
            return self._loaded(w, expr, lanes)
        if lanes == 1 and max([self._lanes_of(arg) for arg in expr.args], default=1) == 1:
            return self._loaded(w, expr, lanes, self._test(w, expr, 1))
        before, test = self.mask, self._test(w, expr, lanes)
        bits = BOOL._replace(lanes=lanes)
        self.mask = test if before is None else w.emit(f"and {bits} {before}, {test}")
        x = self._loaded(w, expr, lanes)
        self.mask = before
        return x

    def _loaded(self, w: Writer, expr: Expr, lanes: int, test: str = "") -> str:
        base = self.arrays[expr.source]  # type: ignore[index]
        self.cost += 1
        widths = [self._lanes_of(arg) for arg in expr.args]
        if max(widths, default=1) > 1:
            places = self._index(w, expr.at, lanes)
            kind = I64._replace(lanes=lanes)
            for arg, scale in zip(expr.args, expr.scales, strict=True):
                i = self._whole(w, arg, lanes)
                places = w.emit(f"add {kind} {places}, "
                                + w.emit(f"mul {kind} {i}, {kind.const(scale)}"))  # fmt: skip
            return self._gather(w, expr.dtype, base, places, lanes)
        first = self._offset(w, expr.at)
        for arg, scale in zip(expr.args, expr.scales, strict=True):
            by = w.emit(f"mul i64 {self._whole(w, arg, 1)}, {scale}")
            first = w.emit(f"add i64 {first}, {by}")
        if test:
            first = w.emit(f"select i1 {test}, i64 {first}, i64 0")
        k = 0 if self.vector is None else expr.at.coefficient(self.vector)
        return self._fetch(w, expr.dtype, base, first, k, lanes)

    def _whole(self, w: Writer, arg: Expr, lanes: int) -> str:
        """Return an index as int64."""
        return operation(w, "astype", int64, arg.dtype, lanes, [self._register(arg, lanes)], None)

    def _fetch(self, w: Writer, dtype: DType, base: str, first: str, k: int, lanes: int) -> str:
        """Load lanes that lie k elements apart, the first at a place."""
        scalar, kind = memory_type(dtype, 1), memory_type(dtype, lanes)
        if lanes >= k > 1 and k in STRIDED and self.mask is None:
            return self._shuffled(w, dtype, base, first, k, lanes)
        guarded = self.mask is not None and self.mask[0] != "<"
        if lanes > 1 and (k not in (0, 1) or (k == 0 and guarded)):
            places = I64._replace(lanes=lanes)
            steps = ", ".join(f"i64 {i * k}" for i in range(lanes))
            at = w.emit(f"add {places} {self._splat(w, first, I64, 1, lanes)}, <{steps}>")
            return self._gather(w, dtype, base, at, lanes)
        pointer = w.emit(f"getelementptr inbounds {scalar}, ptr {base}, i64 {first}")
        size = scalar.bits // 8
        if lanes == 1 or (k == 0 and (self.mask is None or self.mask[0] == "<")):
            x = w.emit(f"load {scalar}, ptr {pointer}, align {size}")
            x = self._splat(w, x, scalar, 1, lanes)
        elif self.mask is None:
            x = w.emit(f"load {kind}, ptr {pointer}, align {size}")
        else:
            bits = BOOL._replace(lanes=lanes)
            name = f"@llvm.masked.load.{kind.suffix}.p0"
            w.declare(f"declare {kind} {name}(ptr, i32, {bits}, {kind})")
            x = w.emit(f"call {kind} {name}(ptr {pointer}, i32 {size}, {bits} {self.mask}, "
                       f"{kind} zeroinitializer)")  # fmt: skip
        return self._from_memory(w, dtype, x, kind)

    def _shuffled(self, w: Writer, dtype: DType, base: str, first: str, k: int, lanes: int) -> str:
        """Load lanes a few elements apart: everything in between too, and choose."""
        scalar, kind = memory_type(dtype, 1), memory_type(dtype, lanes)
        bits, size = BOOL._replace(lanes=lanes), scalar.bits // 8
        name = f"@llvm.masked.load.{kind.suffix}.p0"
        parts = []
        for i in range(k):
            at = w.emit(f"add i64 {first}, {i * lanes}")
            pointer = w.emit(f"getelementptr inbounds {scalar}, ptr {base}, i64 {at}")
            if i < k - 1:
                parts.append(w.emit(f"load {kind}, ptr {pointer}, align {size}"))
                continue
            w.declare(f"declare {kind} {name}(ptr, i32, {bits}, {kind})")
            mask = "<" + ", ".join(f"i1 {int(j <= lanes - k)}" for j in range(lanes)) + ">"
            parts.append(w.emit(f"call {kind} {name}(ptr {pointer}, i32 {size}, {bits} {mask}, "
                                f"{kind} zeroinitializer)"))  # fmt: skip
        whole = parts[0]
        for i, part in enumerate(parts[1:], 1):
            whole = self._chosen(w, kind, whole, part, i, k, lanes)
        return self._from_memory(w, dtype, whole, kind)

    def _chosen(self, w: Writer, kind: Type, so_far: str, part: str, i: int, k: int,
                lanes: int) -> str:  # fmt: skip
        """Take the lanes that lie in the i-th vector; those before it are in place already."""
        picks = []
        for lane in range(lanes):
            at = lane * k
            if at < i * lanes:  # from the first vector, or chosen before
                picks.append(at if i == 1 else lane)
            elif at < (i + 1) * lanes:
                picks.append(lanes + at - i * lanes)
            else:
                picks.append(0)
        words = ", ".join(f"i32 {p}" for p in picks)
        return w.emit(f"shufflevector {kind} {so_far}, {kind} {part}, <{lanes} x i32> <{words}>")

    def _gather(self, w: Writer, dtype: DType, base: str, places: str, lanes: int) -> str:
        scalar, kind = memory_type(dtype, 1), memory_type(dtype, lanes)
        whole, bits = I64._replace(lanes=lanes), BOOL._replace(lanes=lanes)
        pointers = w.emit(f"getelementptr inbounds {scalar}, ptr {base}, {whole} {places}")
        name = f"@llvm.masked.gather.{kind.suffix}.v{lanes}p0"
        w.declare(f"declare {kind} {name}(<{lanes} x ptr>, i32, {bits}, {kind})")
        self.cost += lanes
        x = w.emit(f"call {kind} {name}(<{lanes} x ptr> {pointers}, i32 {scalar.bits // 8}, "
                   f"{bits} {self.mask or bits.const(1)}, {kind} zeroinitializer)")  # fmt: skip
        return self._from_memory(w, dtype, x, kind)

    def _from_memory(self, w: Writer, dtype: DType, x: str, kind: Type) -> str:
        return w.emit(f"icmp ne {kind} {x}, {kind.const(0)}") if dtype is bool_ else x

    def _to_memory(self, w: Writer, dtype: DType, x: str, lanes: int) -> str:
        if dtype is not bool_:
            return x
        return w.emit(f"zext {register_type(dtype, lanes)} {x} to {memory_type(dtype, lanes)}")

    # -- results

    def _write(self, w: Writer, store: Store, register: str, lanes: int) -> None:
        k = 0 if self.vector is None else store.at.coefficient(self.vector)
        dtype = store.value.dtype
        if lanes == 1 and k != 0:
            register = self._splat(w, register, register_type(dtype, 1), 1, self.lanes)
            lanes = self.lanes
        base, first = self.arrays[store.target], self._offset(w, store.at)  # type: ignore[index]
        self.cost += 1
        self._put(w, dtype, base, first, k, register, lanes)

    def _put(
        self, w: Writer, dtype: DType, base: str, first: str, k: int, register: str, lanes: int
    ) -> None:
        x = self._to_memory(w, dtype, register, lanes)
        scalar, kind = memory_type(dtype, 1), memory_type(dtype, lanes)
        bits, size = BOOL._replace(lanes=lanes), scalar.bits // 8
        if lanes > 1 and k != 1:
            whole = I64._replace(lanes=lanes)
            steps = ", ".join(f"i64 {i * k}" for i in range(lanes))
            at = w.emit(f"add {whole} {self._splat(w, first, I64, 1, lanes)}, <{steps}>")
            pointers = w.emit(f"getelementptr inbounds {scalar}, ptr {base}, {whole} {at}")
            name = f"@llvm.masked.scatter.{kind.suffix}.v{lanes}p0"
            w.declare(f"declare void {name}({kind}, <{lanes} x ptr>, i32, {bits})")
            self.cost += lanes
            w.do(f"call void {name}({kind} {x}, <{lanes} x ptr> {pointers}, i32 {size}, "
                 f"{bits} {self.mask or bits.const(1)})")  # fmt: skip
            return
        pointer = w.emit(f"getelementptr inbounds {scalar}, ptr {base}, i64 {first}")
        if lanes == 1 or self.mask is None:
            w.do(f"store {kind} {x}, ptr {pointer}, align {size}")
            return
        if self.mask.count("i1 1") == 1:  # LLVM 20 on x86-64 would store a lone narrowed lane whole
            lone = w.emit(f"extractelement {kind} {x}, i64 0")
            w.do(f"store {scalar} {lone}, ptr {pointer}, align {size}")
            return
        name = f"@llvm.masked.store.{kind.suffix}.p0"
        w.declare(f"declare void {name}({kind}, ptr, i32, {bits})")
        w.do(f"call void {name}({kind} {x}, ptr {pointer}, i32 {size}, {bits} {self.mask})")

    # -- members kept for a later pass

    def _keep(self, value: Value, register: str, lanes: int) -> None:
        assert self.body is not None
        by_rows = self.by_rows
        step = next(p for p in self.loops.passes for s in p.stores if s.value is value)
        at = Affine()
        for var in step.inner:
            at = at * var.extent + Affine.of(var)
        base, first, k = self._kept(self.body, value, at)
        if by_rows and lanes == 1:
            register = self._splat(
                self.body, register, register_type(value.dtype, 1), 1, self.lanes
            )
            lanes = self.lanes
        mask, self.mask = self.mask, None if by_rows else self.mask
        self._put(self.body, value.dtype, base, first, k, register, lanes)
        self.mask = mask

    def _kept(self, w: Writer, value: Value, at: Affine) -> tuple[str, str, int]:
        """Return where an inner element of a kept member lies: base, place, distance of lanes."""
        base = w.emit(f"getelementptr i8, ptr %scratch, i64 {self.scratch[value]}")
        if self.by_rows:
            return base, self._offset(w, at * self.lanes), 1
        k = 0 if self.vector is None else at.coefficient(self.vector)
        return base, self._offset(w, at), k

    def _recalled(self, w: Writer, expr: Expr, lanes: int) -> str:
        """Load a member that an earlier pass computed."""
        value = expr.source
        assert value is not None
        step, store = next((p, s) for p in self.loops.passes for s in p.stores if s.value is value)
        if store.target is not None:
            at = expr.at if expr.static != "elsewhere" else expr.at + self._row_start(value)
            k = 0 if self.vector is None else at.coefficient(self.vector)
            return self._fetch(w, value.dtype, self.arrays[store.target],
                               self._offset(w, at), k, lanes)  # fmt: skip
        at = expr.at
        if expr.static != "elsewhere":
            at = Affine()
            for var in step.inner:
                at = at * var.extent + Affine.of(var)
        base, first, k = self._kept(w, value, at)
        mask, self.mask = self.mask, None if self.by_rows else self.mask
        x = self._fetch(w, value.dtype, base, first, k, lanes)
        self.mask = mask
        return x

    def _row_start(self, value: Value) -> Affine:
        return self.loops.row * (value.size // math.prod(v.extent for v in self.loops.rows))

    def _of_pass(self, expr: Expr) -> bool:
        """Say whether an expression reads a member with several elements a row."""
        return any(
            e.op == "member" and not self.row_vars.issuperset(e.at.terms) for e in expressions(expr)
        )
