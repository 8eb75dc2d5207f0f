"""Derivatives of functions: gradients, vector-Jacobian and Jacobian-vector products, Jacobians, Hessians.

All of them are the one backward pass. A function's arguments become fresh leaves; what it computes is recorded; the pass runs.
Its own result is recorded too whenever somebody could still differentiate it: inside another transform, or where the function
uses tensors that ask for gradients themselves. So transforms nest to any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minigrad import backend, ops
from minigrad.errors import NotInGraphError, ShapeError
from minigrad.graph import GRAD, Node, ancestors, between, leaf, on, record_mode
from minigrad.tensor import Tensor, asarray, own, run, seed, wrap

Argnums = int | tuple[int, ...]


def gradients(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The derivatives of ``outputs`` (their sum, weighted by ``grad_outputs``) with respect to each of ``inputs``.

    Nothing is added to any ``.grad``. Inputs may be any tensors of the graph, leaves or not.

    Args:
        outputs: a tensor or a sequence of tensors.
        inputs: a tensor or a sequence of tensors.
        grad_outputs: one upstream gradient per output (None: 1, for an output with one element).
        create_graph: record the pass, so that the result can be differentiated again.
        retain_graph: keep what was saved for another pass; by default what ``create_graph`` says.
        allow_unused: give None for an input that no output depends on, instead of an error.

    Raises:
        NotInGraphError: for an input that asks for no gradient, or, unless ``allow_unused``, that no output depends on.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor(3.0, requires_grad=True)
        >>> (slope,) = mg.gradients(x**3, x, create_graph=True)
        >>> (curvature,) = mg.gradients(slope, x)
        >>> slope.item(), curvature.item()
        (27.0, 18.0)
    """
    outs, ins = _several(outputs), _several(inputs)
    ups = _several(grad_outputs) if grad_outputs is not None else (None,) * len(outs)
    if len(ups) != len(outs):
        raise ShapeError(f"gradients: {len(outs)} outputs but {len(ups)} grad_outputs; give one each (None for 1)")
    seeds: dict[Node, Any] = {}
    for out, up in zip(outs, ups):
        g, node = seed(out, up), out._source("gradients")
        seeds[node] = seeds[node] + g if node in seeds else g
    for k, x in enumerate(ins):
        if not isinstance(x, Tensor) or not x.requires_grad:
            raise NotInGraphError(
                f"gradients: input {k} does not ask for a gradient: make it with requires_grad=True before computing the outputs"
            )
    targets = [x.node for x in ins]
    reached = ancestors(seeds)
    missing = [k for k, node in enumerate(targets) if node not in reached]
    if missing and not allow_unused:
        names = ", ".join(f"{k}{f' ({ins[k].name})' if ins[k].name else ''}" for k in missing)
        raise NotInGraphError(
            f"gradients: no output depends on input {names}. Was it detached, computed under no_grad, or not used? "
            f"Pass allow_unused=True to get None for it."
        )
    wanted = [node for node in targets if node in reached]
    if not wanted:
        return (None,) * len(ins)
    retain = create_graph if retain_graph is None else retain_graph
    path = between(seeds, wanted)
    found = run({node: g for node, g in seeds.items() if node in path}, path, retain, create_graph, set(wanted))
    return tuple(own(found[node]) if node in found else None for node in targets)


def _several(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (list, tuple)) else (x,)


def _checked(f: Any, argnums: Argnums | None) -> None:
    """Refuse ``mg.grad(f, x)`` where it is written, not where its result is called."""
    if not callable(f) or any(not isinstance(k, int) for k in (() if argnums is None else _several(argnums))):
        raise TypeError(
            f"{_name(f)}: expected a function and the numbers of its arguments, got argnums={argnums!r}. "
            f"The transform takes a function and returns a function: mg.grad(f)(x), not mg.grad(f, x)."
        )


class Trace:
    """A run of ``f`` on fresh leaves: its inputs that are differentiated, its output, and whether others may differentiate."""

    def __init__(self, f: Callable[..., Any], args: Sequence[Any], argnums: Argnums | None, kwargs: dict[str, Any]) -> None:
        numbers = range(len(args)) if argnums is None else _several(argnums)
        if any(not -len(args) <= k < len(args) for k in numbers):
            raise TypeError(f"{_name(f)}: argnums={argnums!r} does not fit {len(args)} positional arguments")
        arguments = list(args)
        with record_mode(on()):
            for k in numbers:
                arguments[k] = _fresh(arguments[k])
            self.inputs = [arguments[k] for k in numbers]
            self.output = f(*arguments, **kwargs)
        own = {x.node for x in self.inputs}
        tensors = [t for t in _several(self.output) if isinstance(t, Tensor) and t.requires_grad]
        outside = (n for n in ancestors(t._source("transforms") for t in tensors) if n not in own and n.op is None)
        self.nested = any(x.node.op is not None for x in self.inputs) or any(True for _ in outside)

    def scalar(self, f: Callable[..., Any]) -> Tensor:
        if not isinstance(self.output, Tensor) or self.output.size != 1:
            got = f"shape {self.output.shape}" if isinstance(self.output, Tensor) else type(self.output).__name__
            raise ShapeError(
                f"grad: {_name(f)} must return a tensor with one element, got {got}. Reduce it (mg.sum), or use mg.jacobian or mg.vjp."
            )
        return self.output

    def pull(self, output: Tensor, g: Any, create: bool | None = None, retain: bool = False) -> list[Tensor]:
        """The vector-Jacobian product; zeros for inputs that the output does not depend on."""
        create = self.nested if create is None else create
        if not output.requires_grad:
            return [_zeros(x) for x in self.inputs]
        found = gradients(output, self.inputs, g, create_graph=create, retain_graph=retain or create, allow_unused=True)
        return [_zeros(x) if v is None else v for v, x in zip(found, self.inputs)]


def _fresh(x: Any) -> Tensor:
    """A leaf of this trace; where ``x`` itself is being differentiated, a node that passes the gradient on to it."""
    t = x if isinstance(x, Tensor) else asarray(x)
    if t.requires_grad:
        return ops.positive(t)  # type: ignore[no-any-return]
    return wrap(t._data, leaf(t._data, False, t.name, shared=True)).requires_grad_()


def _zeros(x: Tensor) -> Tensor:
    return wrap(backend.namespace(x._data).zeros(x.shape, dtype=x.dtype))


def _name(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", "the function")


def _one_or_all(values: Sequence[Any], argnums: Argnums) -> Any:
    return values[0] if isinstance(argnums, int) else tuple(values)


def value_and_grad(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., tuple[Tensor, Any]]:
    """The function that gives ``f``'s value and its gradient.

    Args:
        f: takes tensors (what is differentiated is turned into one) and returns a tensor with one element.
        argnums: which positional argument to differentiate, or a tuple of them (then the gradient is a tuple).

    Example:
        >>> import minigrad as mg
        >>> value, slope = mg.value_and_grad(lambda x: x**2)(3.0)
        >>> value.item(), slope.item()
        (9.0, 6.0)
    """
    _checked(f, argnums)

    def differentiated(*args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        trace = Trace(f, args, argnums, kwargs)
        output = trace.scalar(f)
        g = trace.pull(output, backend.namespace(output._data).ones(output.shape, dtype=output.dtype))
        return (output if trace.nested else output.detach()), _one_or_all(g, argnums)

    return differentiated


def grad(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """The function that gives ``f``'s gradient; nests to any order.

    Args:
        f: takes tensors (what is differentiated is turned into one) and returns a tensor with one element.
        argnums: which positional argument to differentiate, or a tuple of them (then the gradient is a tuple).

    Raises:
        ShapeError: if ``f`` returns more than one element.

    Example:
        >>> import minigrad as mg
        >>> mg.grad(mg.grad(lambda x: x**4))(2.0).item()
        48.0
    """
    both = value_and_grad(f, argnums)
    return lambda *args, **kwargs: both(*args, **kwargs)[1]


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """``f``'s output, and the function from an upstream gradient ``u`` to the vector-Jacobian products ``u^T J``.

    The function may be called again and again; it returns one gradient, or a tuple if there are several primals.

    Example:
        >>> import minigrad as mg
        >>> y, pull = mg.vjp(lambda x: x * x, [1.0, 2.0])
        >>> pull([1.0, 10.0]).numpy().tolist()
        [2.0, 40.0]
    """
    trace = Trace(f, primals, None, {})
    outputs = _several(trace.output)

    def pull(*upstream: Any) -> Any:
        several = isinstance(trace.output, (list, tuple)) and len(upstream) == 1 and isinstance(upstream[0], (list, tuple))
        given = tuple(upstream[0]) if several else upstream
        if len(given) != len(outputs):
            raise ShapeError(
                f"vjp: {_name(f)} has {len(outputs)} outputs, got {len(given)} upstream gradients; give one for each"
            )
        total: list[Tensor] | None = None
        for out, u in zip(outputs, given):
            u = u if isinstance(u, Tensor) else asarray(backend.from_python(u, out.dtype))
            create = trace.nested or u.requires_grad
            parts = trace.pull(out, u, create=create, retain=True)
            total = parts if total is None else [a + b for a, b in zip(total, parts)]
        assert total is not None
        return total[0] if len(primals) == 1 else tuple(total)

    plain = tuple(out if trace.nested else out.detach() for out in outputs)
    return (plain if isinstance(trace.output, (list, tuple)) else plain[0]), pull


def jvp(f: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Tensor, Tensor]:
    """``f``'s output and the Jacobian-vector product ``J v``: the derivative along ``tangents``.

    ``J v`` is the derivative, with respect to ``u``, of the vector-Jacobian product ``u^T J`` times ``v``: two passes of
    reverse mode, and no rule is written twice.

    Args:
        f: a function of tensors that returns a tensor.
        primals: its argument, or a tuple of them.
        tangents: the direction, in the shape of the primals.

    Example:
        >>> import minigrad as mg
        >>> y, dy = mg.jvp(lambda x: x**2, [1.0, 2.0], [1.0, 10.0])
        >>> dy.numpy().tolist()
        [2.0, 40.0]
    """
    primals, tangents = _arguments(primals), _arguments(tangents)
    if len(primals) != len(tangents):
        raise ShapeError(f"jvp: {len(primals)} primals but {len(tangents)} tangents; give one direction for each")
    trace = Trace(f, primals, None, {})
    out = trace.output
    if not isinstance(out, Tensor):
        raise TypeError(f"jvp: {_name(f)} must return one tensor, got {type(out).__name__}")
    if not out.requires_grad:
        return out, _zeros(out)
    u = _zeros(out).requires_grad_()
    with record_mode(GRAD):
        pulled = trace.pull(out, u, create=True)
        directions = [
            v if isinstance(v, Tensor) else asarray(backend.from_python(v, x.dtype)) for v, x in zip(tangents, trace.inputs)
        ]
        for k, (v, x) in enumerate(zip(directions, trace.inputs)):
            if v.shape != x.shape:
                raise ShapeError(f"jvp: tangent {k} has shape {v.shape}, but its primal has shape {x.shape}")
        along = [ops.sum(p * v) for p, v in zip(pulled, directions) if p.requires_grad]
    nested = trace.nested or any(v.requires_grad for v in directions)
    if not along:
        return (out if nested else out.detach()), _zeros(out)
    (product,) = gradients(along, u, [None] * len(along), create_graph=nested, allow_unused=True)
    return (out if nested else out.detach()), _zeros(out) if product is None else product


def _arguments(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def jacobian(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """The function that gives ``f``'s Jacobian, of shape ``output shape + input shape``: one backward pass per output element.

    Example:
        >>> import minigrad as mg
        >>> mg.jacobian(mg.softmax)([0.0, 0.0]).numpy().tolist()
        [[0.25, -0.25], [-0.25, 0.25]]
    """
    _checked(f, argnums)

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        trace = Trace(f, args, argnums, kwargs)
        out = trace.output
        if not isinstance(out, Tensor):
            raise TypeError(f"jacobian: {_name(f)} must return one tensor, got {type(out).__name__}")
        rows: list[list[Tensor]] = []
        for k in range(out.size):
            g = backend.namespace(out._data).zeros(out.size, dtype=out.dtype)
            g[k] = 1
            rows.append(trace.pull(out, g.reshape(out.shape), retain=True))
        found = []
        for j, x in enumerate(trace.inputs):
            columns = [row[j] for row in rows]
            found.append(ops.stack(columns).reshape(out.shape + x.shape) if columns else _empty(out, x))
        return _one_or_all(found, argnums)

    return differentiated


def _empty(out: Tensor, x: Tensor) -> Tensor:
    return wrap(backend.namespace(x._data).zeros(out.shape + x.shape, dtype=x.dtype))


def hessian(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """The function that gives ``f``'s matrix of second derivatives, of shape ``input shape + input shape``.

    With a tuple of ``argnums``, a tuple of tuples: block ``[i][j]`` differentiates by argument i, then j.

    Example:
        >>> import minigrad as mg
        >>> mg.hessian(lambda x: x[0] ** 2 * x[1])([1.0, 2.0]).numpy().tolist()
        [[4.0, 2.0], [2.0, 0.0]]
    """
    _checked(f, argnums)
    if isinstance(argnums, int):
        return jacobian(grad(f, argnums), argnums)

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        return tuple(jacobian(grad(f, i), argnums)(*args, **kwargs) for i in argnums)

    return differentiated


def hvp(f: Callable[..., Any], primals: Any = None, tangents: Any = None) -> Any:
    """The Hessian-vector product ``H v`` of a scalar function, without the Hessian: the gradient of ``grad(f) . v``.

    ``hvp(f, x, v)`` gives the product; ``hvp(f)`` the function of ``x`` and ``v``. With a tuple of arguments, ``v`` and the
    result are tuples.

    Example:
        >>> import minigrad as mg
        >>> mg.hvp(lambda x: x[0] ** 2 * x[1], [1.0, 2.0], [1.0, 0.0]).numpy().tolist()
        [4.0, 2.0]
    """
    if primals is None:
        return lambda x, v: hvp(f, x, v)
    xs, vs = _arguments(primals), _arguments(tangents)
    every = tuple(range(len(xs)))

    def slope(*args: Any) -> Any:
        return sum(ops.sum(g * v) for g, v in zip(grad(f, every)(*args), (_direction(v, a) for v, a in zip(vs, args))))

    found = grad(slope, every)(*xs)
    return found if isinstance(primals, tuple) else found[0]


def _direction(v: Any, x: Tensor) -> Tensor:
    return v if isinstance(v, Tensor) else asarray(backend.from_python(v, x.dtype))
