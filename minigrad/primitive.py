"""``primitive``: declare an operation in one row. Forward, one local-gradient rule per array operand, and what to call them.

The operation maps Tensors to a Tensor, recording it, and plain arrays to a plain array. So a rule written with operations and
operators serves twice: on arrays it is the fast first-order backward; on Tensors its result can be differentiated again.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from minigrad import anomaly, backend, blocks, cuts, guards, halves, naming, tracing
from minigrad.blame import blame
from minigrad.errors import ShapeError
from minigrad.graph import ALL, CUT, KEEP, Absent, Handle, Node, is_off, leaf, orders, recording

Rule = Callable[..., Any]
Operation = Callable[..., Any]
"""What :func:`primitive` returns: maps Tensors to a Tensor and plain arrays to a plain array."""

TABLE: dict[str, Op] = {}
"""Every operation that minigrad itself declares, by name, in the order of the source: docs and tests run over it."""


class Op:
    """A row of the table.

    Attributes:
        name: its public name.
        forward: arrays to array.
        rules: one per array operand (None: no gradient), each ``rule(g, y, *operands, *params)``, where ``g`` is the upstream
            gradient and ``y`` the output; it returns the contribution to that operand's gradient.
        needs: for each rule, the positions of the values it reads: 0 the output, 1 the first operand, ...
        gate: the pattern in the words of the notes (001, "Backpropagation").
        math: the formula of the output.
        told: the rules as formulas, where their source text does not read as one.
        kink: where the derivative is a choice, and which one was made.
        elementwise: whether each output element depends on one element of each operand.
        exact: whether its rules are known to return the output's shape and dtype, as tests hold for minigrad's own
            elementwise operations; of all others the backward pass checks what each rule returned (0.1 us).
        mask: for gates that choose a branch: ``mask(i, *operands)`` says where operand ``i`` was taken.
        read: the positions of the values that any rule reads.
        adds: for operations that pick some elements: ``adds(total, g, y, *operands, *params)`` adds what the first operand receives
            to an array; the backward pass then makes no array of zeros for each.
        spared: by which operands ask for gradients, the positions of the values that their rules do not read.
        plain: 1 or 2 if its rules take that many operands and nothing else, so that the backward pass can spell the call out.
    """

    __slots__ = (
        "adds", "arity", "elementwise", "exact", "forward", "gate", "kink", "mask", "math", "name", "needs", "plain", "pulls", "read", "rules",
        "spared", "told",
    )  # fmt: skip

    def __init__(
        self, name: str, forward: Rule, rules: Sequence[Rule | None], needs: str | Sequence[str] | None, gate: str, math: str,
        kink: str, elementwise: bool, exact: bool, mask: Rule | None, parameters: int, told: Sequence[str], adds: Rule | None = None,
    ) -> None:  # fmt: skip
        self.name, self.forward, self.rules, self.gate, self.math, self.kink = name, forward, tuple(rules), gate, math, kink
        self.elementwise, self.exact, self.mask, self.arity, self.adds = elementwise, exact, mask, len(rules), adds
        per_rule = [needs] * len(rules) if needs is None or isinstance(needs, str) else needs
        if len(per_rule) != len(rules):
            raise ValueError(f"primitive {name}: needs has {len(per_rule)} entries for {len(rules)} rules; give one per rule")
        self.needs = tuple(_positions(name, letters, len(rules)) for letters in per_rule)
        self.pulls = tuple((i, rule) for i, rule in enumerate(rules) if rule is not None)
        # Of others' operations, which no test of ours has held to their `needs`, a rule finds every value in the graph.
        positions = {k for i, _ in self.pulls for k in self.needs[i]} if exact else range(self.arity + 1)
        self.read = tuple(sorted(positions))
        self.told = tuple(told)
        self.spared: dict[tuple[bool, ...], tuple[int, ...]] = {}
        self.plain = len(rules) if len(rules) <= 2 and not parameters and mask is None else 0

    def reads(self, parents: Sequence[Node | None]) -> set[int]:
        """Positions of the saved values that the rules for ``parents`` read."""
        asking = (i for i, _ in self.pulls if (p := parents[i]) is not None and p.requires_grad)
        return {k for i in asking for k in self.needs[i]}

    def keep(self, parents: tuple[Node | None, ...], values: tuple[Any, ...]) -> tuple[Any, ...]:
        """``values`` without the large ones that no rule for ``parents`` reads."""
        asking = tuple([p is not None and p.requires_grad for p in parents])
        spared = self.spared.get(asking)
        if spared is None:
            reads = self.reads(parents)
            spared = self.spared[asking] = tuple(i for i in range(self.arity + 1) if i not in reads)
        return self.without(spared, values) if spared else values

    def without(self, places: Iterable[int], values: tuple[Any, ...]) -> tuple[Any, ...]:
        """``values`` with an :class:`Absent` for each large one at one of ``places``."""
        kept = list(values)
        for i in places:
            if getattr(values[i], "size", 0) > KEEP:
                kept[i] = Absent(values[i], f"{self.name}'s {_place(i)}")
        return tuple(kept)

    def __repr__(self) -> str:
        return f"<Op {self.name}>"


def _place(i: int) -> str:
    return f"operand {i} ('{chr(ord('a') + i - 1)}')" if i else "output ('y')"


def _positions(name: str, letters: str | None, arity: int) -> frozenset[int]:
    """``"yb"`` -> {0, 2}; None, the safe default, reads everything."""
    if letters is None:
        return frozenset(range(arity + 1))
    found = frozenset(0 if c == "y" else ord(c) - ord("a") + 1 for c in letters)
    if not found <= set(range(arity + 1)):
        raise ValueError(f"primitive {name}: needs={letters!r}: y is the output, a the first operand, b the second, ...")
    return found


class Each:
    """The rule of an operation on any number of arrays: ``rule(i, g, y, *operands, *params)`` for operand ``i``."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule


def primitive(
    forward: Rule,
    *rules: Rule | Each | None,
    needs: str | Sequence[str] | None = None,
    gate: str = "",
    math: str = "",
    rule: Sequence[str] = (),
    kink: str = "",
    name: str | None = None,
    elementwise: bool | None = None,
    mask: Rule | None = None,
    adds: Rule | None = None,
) -> Operation:
    """Declare an operation: its forward function and one local-gradient rule per array operand.

    Args:
        forward: maps arrays to an array. Its first operands are arrays, one per rule; what follows are parameters (an axis, a
            stride), which have no gradient. Its signature and docstring become the operation's.
        rules: for each array operand, ``rule(g, y, *operands, *params)``: upstream gradient, output, operands and parameters,
            all positional. It returns the contribution to that operand's gradient, in the operand's shape or one that
            broadcasting made of it, which is undone for you. None where the operand has no gradient. Write rules with
            minigrad's operations and operators, changing nothing in place, and they are differentiable again.
        needs: the values that the rules read, as letters: ``y`` the output, ``a`` the first operand, ``b`` the second, ...;
            one string for all rules or one per rule. The others are dropped after forward (shapes and dtypes stay
            readable). By default everything is kept.
        gate: its gate pattern in words, for drawings and tables.
        math: the formula of the output, for drawings and tables.
        rule: the rules as formulas, where their source text does not read as one.
        kink: where it is not differentiable, and what is returned there.
        name: the public name; by default that of ``forward``.
        elementwise: whether each output element depends on one element of each operand; by default, whether ``forward`` is
            a NumPy ufunc.
        mask: for gates that choose a branch: ``mask(i, *operands)`` says where operand ``i`` was taken.
        adds: for operations that pick some elements: ``adds(total, g, y, *operands, *params)`` adds the first operand's contribution
            to an array in place. Picking T slices of an array one by one then costs T slices in backward, not T arrays.

    Returns:
        The operation, a function. Its row is its attribute ``op``.

    Example:
        >>> import minigrad as mg
        >>> cube = mg.primitive(lambda a: a**3, lambda g, y, a: g * 3 * a**2, needs="a", gate="cube", name="cube")
        >>> x = mg.tensor(2.0, requires_grad=True)
        >>> cube(x).backward()
        >>> x.grad.item()
        12.0
        >>> mg.grad(mg.grad(cube))(2.0).item()
        12.0
    """
    if not callable(forward):
        raise TypeError(f"primitive: forward must be a function of arrays, not {type(forward).__name__}")
    arguments = _arguments(forward)
    label = name or str(getattr(forward, "__name__", "op")).strip("_")
    label = label if label.isidentifier() else "op"
    is_elementwise = _is_ufunc(forward) if elementwise is None else elementwise
    own = str(sys._getframe(1).f_globals.get("__name__", "")).startswith("minigrad.ops")

    def declare(forward: Rule, rules: Sequence[Rule | None], arguments: dict[str, Any]) -> Callable[..., Any]:
        parameters = len(arguments) - len(rules)
        op = Op(
            label, forward, rules, needs, gate, math, kink, is_elementwise, is_elementwise and own, mask, parameters, rule, adds
        )
        return _function(op, arguments, wide=own and label in halves.WIDE)

    if not rules:
        needed = sum(default is inspect.Parameter.empty for default in arguments.values())
        rules = (None,) * needed  # no gradient for any operand
    if len(rules) == 1 and isinstance(rules[0], Each):
        apply = _variadic(declare, forward, rules[0].rule, arguments)
    else:
        if len(rules) > len(arguments):
            raise TypeError(f"primitive {label}: {len(rules)} rules, but forward takes only {len(arguments)} arguments")
        apply = declare(forward, rules, arguments)  # type: ignore[arg-type]
    op: Op = apply.op  # type: ignore[attr-defined]
    apply.__name__ = apply.__qualname__ = label
    apply.__module__ = "minigrad" if own else forward.__module__
    apply.__doc__ = (inspect.isfunction(forward) and forward.__doc__) or _describe(op)
    if own:
        TABLE[label] = op
    return apply


def _is_ufunc(forward: Rule) -> bool:
    return type(forward).__name__ == "ufunc"


def _arguments(forward: Rule) -> dict[str, Any]:
    """The names and defaults of a forward function's arguments."""
    if _is_ufunc(forward):
        return dict.fromkeys("abcd"[: forward.nin], inspect.Parameter.empty)  # type: ignore[attr-defined]
    return {name: argument.default for name, argument in inspect.signature(forward).parameters.items()}


def _describe(op: Op) -> str:
    """The docstring of a row whose forward function is NumPy's."""
    parts = [
        f"``{op.math or op.name}``, elementwise with NumPy's broadcasting and dtype promotion.",
        f"Gate: {op.gate}." if op.gate else "",
        f"Kink: {op.kink}." if op.kink else "",
    ]
    return "\n\n".join(part for part in parts if part)


# The function that a user calls is written out for its signature and compiled, as the methods of a dataclass are: one text
# serves every number of operands and parameters, Python itself binds the arguments, and an operation costs 0.5 us less than
# through *args and a loop over them. With two operands it takes 0.75 us beyond what NumPy takes.
_SOURCE = """
def declare(_op, _forward, _defaults):
    def {name}({signature}):
        _mode, _scope = _recording()
        if _mode >= ALL:
            _enlist(({operands},))
{unwrap}{narrow}
        try:{forward}        except Exception as error:
            raise _blame(error, _op, ({operands},), ({params})) from error
        if _mode and ({asked} or _mode >= ALL and ({tensors})):
{shape}
            _out = Tensor()
            _out._data = _y
            _out.node = _node = Node()
            _values = (_y, {values})
            _node.op = _op
            _node.parents = _parents = ({nodes},)
            _node.saved = _values if {whole} else _op.keep(_parents, _values)
            _node.params = ({params})
            _node.shape = _shape
            _node.small = _small
            _node.dtype = _dtype
            _node.order = _next(_orders)
            _node.scope = _scope
            _node.grad = _node.extra = None
            _node.requires_grad = _node.live = True
            if {careful}:
                _protect(_node, _values)
            if _mode >= ALL:
                _inspected(_out, _values)
            return _out
        if {tensors}:
            return _unrecorded(_y) if _mode is not CUT else _unseen(_unrecorded(_y), ({operands},))
        return _y
    return {name}
"""
_UNWRAP = """
        if isinstance({a}, Tensor):
            {x} = {a}._data
            {p} = {a}.node
        else:
            {x} = {a} if _type({a}) in PLAIN else _operand({a}, _op.name)
            {p} = None
"""
# Two-byte floats are added up in float32, by a row of their own (see halves.py): 0.05 us to look.
_NARROW = """
        if _type({x}) is _ndarray and {x}.itemsize == 2 and _is_half({x}.dtype):
            return _defaults[None]({arguments})
"""
_FORWARD = """
            _y = _forward({call})
"""
# Of an operand that asks for gradients the node knows, for 0.02 us, whether it is small.
_ELEMENTWISE_FORWARD = """
            _y = _forward({call}) if {small} else _piecewise(_forward, {call})
"""
_SHAPE = """
            if _type(_y) is not _ndarray:
                _y = _array_of(_y)
            _shape, _small, _dtype = _y.shape, _y.size <= KEEP, _y.dtype
"""
# Operands whose shape is one and the same tuple give an elementwise output that shape, and asking the array itself for its
# shape and size would take 0.07 us. To share the tuple also saves 56 bytes a node and a comparison in the backward pass.
_ELEMENTWISE_SHAPE = """
            if {alike}:
                _shape, _small, _dtype = {p}.shape, {p}.small, {p}.dtype
            else:
                _shape, _small, _dtype = _y.shape, _y.size <= KEEP, _y.dtype
                if {p} is not None and {p}.shape == _shape:
                    _shape = {p}.shape
            if not _shape:
                _y = _array_of(_y)
"""


def _function(op: Op, arguments: dict[str, Any], wide: bool = False) -> Callable[..., Any]:
    """The function that applies ``op``; ``wide`` says that its two-byte floats are computed in float32."""
    names = list(arguments)
    operands, params = names[: op.arity], names[op.arity :]
    x, p = [f"x_{a}" for a in operands], [f"p_{a}" for a in operands]
    optional = [name for name, default in arguments.items() if default is not inspect.Parameter.empty]
    # An only operand has a node wherever something is recorded.
    alike = " and ".join(
        [*(f"{q} is not None" for q in p), *(f"{p[0]}.{same} is {q}.{same}" for q in p[1:] for same in ("shape", "dtype"))]
    )
    alike = alike if len(p) > 1 else "True"
    source = _SOURCE.format(
        name=op.name,
        signature=", ".join(f"{n}=_defaults[{n!r}]" if n in optional else n for n in names),
        unwrap="".join(_UNWRAP.format(a=a, x=f"x_{a}", p=f"p_{a}") for a in operands),
        narrow=_NARROW.format(x=x[0], arguments=", ".join(names)) if wide else "",
        forward=(_ELEMENTWISE_FORWARD if op.exact else _FORWARD).format(small=_small(x, p), call=", ".join(x + params)),
        operands=", ".join(operands),
        params="".join(f"{n}, " for n in params),
        asked=" or ".join(f"{p[i]} is not None and {p[i]}.requires_grad" for i, _ in op.pulls) or "False",
        tensors=" or ".join(f"isinstance({a}, Tensor)" for a in operands),
        values=", ".join(x),
        nodes=", ".join(p),
        shape=(_ELEMENTWISE_SHAPE if op.exact else _SHAPE).format(p=p[0], alike=alike),
        whole="_small" if op.elementwise else "_mode >= ALL",
        careful=" or ".join(f"{q} is None or {q}.extra is not None" for q in p),
    )
    given: dict[Any, Any] = {**arguments, None: _function(halves.twin(op, names), arguments)} if wide else arguments
    exec(source, SPACE)  # noqa: S102
    apply: Callable[..., Any] = SPACE["declare"](op, op.forward, given)
    setattr(apply, "op", op)  # noqa: B010
    return apply


def _small(x: list[str], p: list[str]) -> str:
    """Whether the first operand with a node is too small to be cut, as source text."""
    text = "True"
    for a, q in zip(reversed(x), reversed(p)):
        text = f"({q}.small or {a}.size < _blocks.BLOCK if {q} is not None else {text})"
    return text


def _variadic(
    declare: Callable[..., Callable[..., Any]], forward: Rule, rule: Rule, arguments: dict[str, Any]
) -> Callable[..., Any]:
    """An operation on a sequence of arrays: a function of its own for each length, made on first use."""
    _, *params = arguments

    @functools.cache
    def of(n: int) -> Callable[..., Any]:
        names = [f"a{i}" for i in range(n)]
        return declare(
            lambda *args: forward(args[:n], *args[n:]),
            [functools.partial(rule, i) for i in range(n)],
            {**dict.fromkeys(names, inspect.Parameter.empty), **{q: arguments[q] for q in params}},
        )

    def apply(arrays: Any, *args: Any, **kwargs: Any) -> Any:
        arrays = tuple(arrays)
        if not arrays:
            raise ShapeError(f"{apply.__name__}: needs at least one array")
        return of(len(arrays))(*arrays, *args, **kwargs)

    setattr(apply, "op", of(1).op)  # type: ignore[attr-defined]  # noqa: B010
    return apply


def unrecorded(y: Any) -> Any:
    """A Tensor without history."""
    out = SPACE["Tensor"]()
    out._data = backend.array_of(y)
    out.node = None
    return out


def enlist(operands: Iterable[Any]) -> None:
    """While everything is recorded, constants are part of the graph too."""
    log = tracing.active.get()
    for operand in operands:
        if isinstance(operand, Handle):
            if operand.node is None:
                operand.node = leaf(operand._data, requires_grad=False)
            if log is not None:
                log.operand(operand)


def inspected(out: Handle, values: tuple[Any, ...]) -> None:
    """While everything is recorded, a node keeps all its values and its source line, gradient or not."""
    node: Any = out.node
    node.saved = values
    asking = any((p := node.parents[i]) is not None and p.requires_grad for i, _ in node.op.pulls)
    node.requires_grad = asking and not is_off()
    log = tracing.active.get()
    if log is not None:
        log.operation(out, node)
        return
    node.more().where = naming.caller()
    if anomaly.checking.get():
        anomaly.check_forward(node, values)


SPACE: dict[str, Any] = {
    "__name__": __name__,
    "ALL": ALL, "CUT": CUT, "KEEP": KEEP, "Node": Node, "PLAIN": backend.PLAIN, "Tensor": Handle, "_array_of": backend.array_of, "_blame": blame,
    "_enlist": enlist, "_inspected": inspected, "_is_half": halves.is_half, "_ndarray": backend.ndarray, "_orders": orders, "_operand": backend.operand,
    "_blocks": blocks, "_piecewise": blocks.piecewise, "_protect": guards.protect, "_recording": recording.get, "_unrecorded": unrecorded,
    "_unseen": cuts.unseen, "_next": next, "_type": type,
}  # fmt: skip
"""What the generated functions refer to. ``Tensor``, the class of what they return, is set by minigrad/tensor.py."""
