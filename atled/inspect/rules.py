"""The text of a derivative rule, as it is written in the operation's record.

A rule is a lambda in a source file: the file is parsed (once), and the lambda's body is taken
from it without the namespace: ``lambda xp, b, y: -y / b`` reads ``∂/∂b = -y / b``. Nothing here
fails for want of a source: what a rule reads is then all that can be said.
"""

import ast
import linecache
import unicodedata
from functools import lru_cache
from types import CodeType
from typing import Any

from atled.core.op import Derivative, Op

__all__ = ["rule_text", "rule_texts"]


def rule_texts(derivative: Any) -> list[str]:
    """Return the reverse-mode rule of each operand in `derivative`, as a line of text.

    Args:
        derivative: of a node of the tape; that of a custom `Function` gives its `backward`,
            others of the user's own their name.

    Example:
        >>> import atled as at
        >>> x = at.tensor(2.0, requires_grad=True)
        >>> rule_texts(x.sin().grad_fn.derivative)
        ['∂/∂x = cos(x)']
    """
    if not isinstance(derivative, Derivative):
        owner = derivative.op  # of a custom call (`core/call.py`), a program or a checkpoint
        rule = getattr(owner, "backward", None)
        what = getattr(owner, "shown", f"{owner.__name__}.backward")
        return [f"{what}{_first_line(rule) if rule else ''}"]
    return [rule_text(derivative.op, i) for i in derivative.positions]


def rule_text(op: Op, position: int) -> str:
    """Return the reverse-mode rule of one operand of an operation."""
    pair = op.pair(position)
    name = op.inputs[min(position, len(op.inputs) - 1)].lstrip("*")
    if pair is None:
        return f"∂/∂{name} = 0"
    rule = pair[0]
    if rule is None:
        return f"∂/∂{name} = 1"
    if rule.function.__name__ == "_negate" and not rule.reads:
        return f"∂/∂{name} = -1"
    target = f"∂/∂{name}" if rule.factor else _barred(name)
    return f"{target} = {_body(rule)}"


def _barred(name: str) -> str:
    """Return the sign of an operand's cotangent: x̄; for a longer name ∂L/∂name."""
    return unicodedata.normalize("NFC", name + "\u0304") if len(name) == 1 else f"∂L/∂{name}"


def _body(rule: Any) -> str:
    function = rule.function
    code = getattr(function, "__code__", None)
    if code is not None and code.co_name == "<lambda>":
        found = _lambda_body(code)
        if found is not None:
            return found
    reads = ", ".join(rule.reads if rule.factor else ("g", *rule.reads))
    name = getattr(function, "__name__", "f").strip("_")
    name = "f" if name == "<lambda>" else name
    return f"{name}({reads}){_first_line(function)}"


def _first_line(function: Any) -> str:
    lines = (getattr(function, "__doc__", None) or "").strip().splitlines()
    return f": {lines[0]}" if lines else ""


@lru_cache(maxsize=1024)
def _lambda_body(code: CodeType) -> str | None:
    """Return the body of the lambda that was compiled to `code`, or None without its source."""
    spans = [(line, column, end_line, end) for line, end_line, column, end in code.co_positions()
             if line and end_line and end and column is not None
             and (line, column) < (end_line, end)]  # fmt: skip
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    candidates = [
        node
        for node in _lambdas("".join(linecache.getlines(code.co_filename)))
        if node.lineno == code.co_firstlineno and names == _parameters(node)
    ]
    if spans:
        start = min(span[:2] for span in spans)
        end = max(span[2:] for span in spans)
        candidates = [
            node for node in candidates
            if (node.lineno, node.col_offset) <= start
            and end <= (node.end_lineno or 0, node.end_col_offset or 0)
        ]  # fmt: skip
    if not candidates or (not spans and len(candidates) > 1):
        return None
    innermost = max(candidates, key=lambda node: (node.lineno, node.col_offset))
    # A copy: the parsed file is kept for the next rule.
    body = ast.parse(ast.unparse(innermost.body), mode="eval").body
    return ast.unparse(_WithoutNamespace().visit(body))


@lru_cache(maxsize=64)
def _lambdas(source: str) -> list[ast.Lambda]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    return [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]


def _parameters(node: ast.Lambda) -> tuple[str, ...]:
    given = node.args
    return tuple(a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs))


class _WithoutNamespace(ast.NodeTransformer):
    """Write ``xp.cos(x)`` as ``cos(x)`` and ``_winner(xp, a, b)`` as ``winner(a, b)``."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "xp":
            return ast.copy_location(ast.Name(node.attr, ast.Load()), node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        node.args = [a for a in node.args if not (isinstance(a, ast.Name) and a.id == "xp")]
        if isinstance(node.func, ast.Name):
            node.func.id = node.func.id.lstrip("_")
        return node
