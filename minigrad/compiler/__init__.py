"""``mg.compile``: a training step, run once and recorded, becomes a flat program of NumPy calls that is replayed."""

from __future__ import annotations

import functools
import gc
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad import anomaly, arena
from minigrad.compiler.emit import Emitter
from minigrad.compiler.lower import lower
from minigrad.compiler.memory import fit, parse
from minigrad.compiler.own import gather_parts
from minigrad.compiler.program import CONSTANT, Builder, Instruction, Program, Value, same, settle, simplify
from minigrad.compiler.schedule import Region, schedule
from minigrad.graph import TRACE, Handle, Node, leaf, recording
from minigrad.tensor import Tensor, asarray, wrap
from minigrad.threads import THREADS
from minigrad.tracing import Assigned, CompileError, GradSet, Log, active

__all__ = ["CompileError", "Compiled", "compile"]


def compile(step: Callable[..., Any] | None = None, *, threads: int | None = None, memory: int | str | None = None) -> Any:
    """``step`` as a program: the same numbers, without the graph.

    The first two calls run the step as it is and record it, forward pass, backward pass and updates; the second recording must
    agree with the first, or what differs is named. From the third call on the recorded operations are replayed, into buffers that are
    used again and again, elementwise parts block by block and on several threads. Other shapes or dtypes, a module switched
    between training and evaluation, and gradients that are there or not when the step begins, are recorded as programs of their own.

    What a step may do: anything that minigrad records, ``backward``, ``zero_grad``, ``optimizer.step``, clipping, dropout, batch
    norm's running statistics. Parameters, optimiser state and random generators stay where they are and go on from where they
    were, so compiled and plain steps can be mixed. What it may not do: decide by a value (``if loss > 1``, ``loss.item()``), compute
    with raw arrays on the side, keep a Tensor elsewhere than in what it returns. Each is an error that names the line. Arrays among
    the arguments become Tensors. What it returns has no graph: call ``backward`` inside.

    Parameters, gradients and states are those of the plain step bit for bit. A sum over all rows of a large array that is only
    returned, such as the loss, is added block by block (equal to about 1e-6 relative in float32).

    Args:
        step: a function of Tensors, arrays and plain Python values (each other value is a program of its own).
        threads: among how many threads large elementwise parts are shared; at most (and by default) the
            cores there are, and 4.
        memory: how many bytes (or ``"2GB"``) the values between inputs and results may take: what is read again only much later
            is then computed again instead of kept, largest first. ``explain`` says what was reached.

    Raises:
        CompileError: at the first or second call, if the step does what a program cannot repeat.

    Example:
        >>> import minigrad as mg
        >>> w = mg.tensor([1.0, 2.0], requires_grad=True)
        >>> optimizer = mg.optim.SGD([w], lr=0.25)
        >>> @mg.compile
        ... def step(x):
        ...     optimizer.zero_grad()
        ...     loss = mg.sum((w - x) ** 2)
        ...     loss.backward()
        ...     optimizer.step()
        ...     return loss
        >>> [step(mg.tensor([3.0, 3.0])).item() for _ in range(5)]
        [5.0, 1.25, 0.3125, 0.078125, 0.01953125]
    """
    if step is None:
        return functools.partial(compile, threads=threads, memory=memory)
    if not callable(step):
        raise TypeError(f"compile: expected a function, got {type(step).__name__}")
    return Compiled(step, threads, None if memory is None else parse(memory))


class Compiled:
    """What :func:`compile` returns: call it like the step.

    Attributes:
        programs: what has been compiled so far.
    """

    def __init__(self, step: Callable[..., Any], threads: int | None, memory: int | None = None) -> None:
        functools.update_wrapper(self, step)
        self._step, self._memory = step, memory
        self._threads = THREADS if threads is None else min(max(1, threads), THREADS)
        self._candidates: dict[Any, list[Variant]] = {}

    @property
    def programs(self) -> list[Variant]:
        return [v for variants in self._candidates.values() for v in variants if v.emitter is not None]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if active.get() is not None or anomaly.checking.get() is not None:  # a replay checks nothing
            return self._step(*args, **kwargs)
        leaves: list[Tensor] = []
        structure = _flatten((args, kwargs), leaves)
        key = (structure, tuple((t.shape, t.dtype, t.requires_grad) for t in leaves))
        for variant in self._candidates.get(key, ()):
            if variant.holds(leaves):
                return variant.run(leaves) if variant.emitter is not None else self._record(variant, key, leaves)
        return self._record(None, key, leaves)

    def _record(self, earlier: Variant | None, key: Any, inputs: list[Tensor]) -> Any:
        """Run the step as it is, recording it; the second time, make the program."""
        args, kwargs = _unflatten(key[0], iter(inputs))
        variant, result = _trace(self._step, args, kwargs, inputs)
        if earlier is not None:
            variants = self._candidates[key]
            if earlier in variants:
                variants.remove(earlier)
            if difference := same(earlier.program, variant.program):
                raise CompileError(f"compile: {difference}.")
            variant.finish(self._threads, self._memory)
        self._candidates.setdefault(key, []).append(variant)
        return result

    def explain(self) -> str:
        """What was made of the step: counts, what runs together, what could not be planned, and the code itself."""
        found = self.programs
        if not found:
            return "Not compiled yet: the program is made at the second call with the same shapes."
        return "\n\n".join(variant.explain() for variant in found)

    def __repr__(self) -> str:
        return f"<compiled {getattr(self._step, '__name__', 'step')}, {len(self.programs)} programs>"


class Variant:
    """One recording of a step, what it holds for, and, after the second, its program."""

    def __init__(self, log: Log, program: Program, result: Any, inputs: list[Tensor]) -> None:
        self.program, self.result = program, result
        self.emitter: Emitter | None = None
        given = {id(t) for t in inputs}
        self.states = [(h, h.node, n.dtype) for n, h in _states(log) if id(h) not in given]
        self.lock = threading.Lock()
        self.modules = dict(log.modules)
        self.had_grad = {node: had for node, had in log.had_grad.items() if had is not None}
        position = {id(t._data): k for k, t in enumerate(inputs)}
        self.guards = [
            (k, g.array if k is None else None, g.predicate, g.outcome)
            for g in log.guards
            for k in (position.get(id(g.array)),)
        ]

    def holds(self, leaves: list[Tensor]) -> bool:
        """Whether the world is as it was recorded: the same Tensors, modes and gradients, the same branches of the library."""
        return (
            all(h.node is node and (node is None or node.dtype is dtype) for h, node, dtype in self.states)
            and all(module.training is mode for module, mode in self.modules.items())
            and all((node.grad is not None) is had for node, had in self.had_grad.items())
            and all(
                predicate(array if k is None else leaves[k]._data) == outcome for k, array, predicate, outcome in self.guards
            )
        )

    def finish(self, threads: int, memory: int | None = None) -> None:
        p = self.program
        self.before = sum(1 for _ in p.instructions())
        lower(p)
        simplify(p, _holders(p))
        gather_parts(p)
        self.held = None if memory is None else fit(p, memory)
        self.budget = memory
        self.items = schedule(p)
        arena.clear()  # what the recordings left: a program has its own buffers
        self.emitter = Emitter(p, self.items, threads)
        self.emitter.settle()

    def run(self, leaves: list[Tensor]) -> Any:
        emitter = self.emitter
        assert emitter is not None
        with self.lock:  # the buffers are one set: threads take turns
            if not emitter.untouched():
                emitter.bind()
                emitter.settle()
            with np.errstate(all="ignore"):
                values = emitter.run(*[t._data for t in leaves])
        return _unflatten(self.result, iter([wrap(_owned(v, leaves)) for v in values]))

    def explain(self) -> str:
        assert self.emitter is not None
        p = self.program
        regions = [i for i in self.items if isinstance(i, Region)]
        calls = Counter(i.op.name for i in self.items if isinstance(i, Instruction))
        plan, mib = self.emitter.plan, sum(self.emitter.plan.sizes) / 2**20
        lines = [
            f"{self.before} operations recorded; {sum(1 for _ in p.instructions())} are left"
            + "".join(f"; {n} {what}" for what, n in p.said.items()),
            f"{len(regions)} regions run block by block: "
            + ", ".join(f"{len(r.steps)} operations on {r.rows} rows" for r in regions)
            if regions
            else "nothing is large enough to run block by block",
            f"{len(plan.slot)} values share {len(plan.sizes)} buffers of {mib:.2f} MiB; {self.emitter.views} views are made once",
            "on their own: " + ", ".join(f"{n} {name}" for name, n in calls.most_common()),
        ]
        if self.budget is not None:
            done = "within" if (self.held or 0) <= self.budget else "above what could be reached of"
            lines.append(f"{(self.held or 0) / 2**20:.2f} MiB at most, {done} the budget of {self.budget / 2**20:.2f} MiB")
        return "\n".join(lines) + "\n\n" + self.emitter.source


def _owned(value: Any, leaves: list[Tensor]) -> Any:
    return (
        value.copy()
        if isinstance(value, np.ndarray) and (not arena.owns(value) or any(value is t._data for t in leaves))
        else value
    )


def _states(log: Log) -> Iterator[tuple[Node, Handle]]:
    for node, handle in log.handles.items():
        if node.order < log.start and node.op is None:
            yield node, handle


def _references(v: Value) -> int:
    return sys.getrefcount(v.array)


OURS = _references(Value(0, CONSTANT, np.zeros(1)))


def _holders(p: Program) -> Callable[[Value], bool]:
    """The question whether a constant array is somebody's: a program must not fold what its owner may change."""
    arrays = {id(v.array): v for v in p.values if isinstance(v.array, np.ndarray)}
    views = Counter(id(v.array.base) for v in arrays.values() if v.array.base is not None)

    def held(v: Value) -> bool:
        if not isinstance(v.array, np.ndarray):
            return False
        base = v.array.base
        if base is not None:
            return id(base) not in arrays or held(arrays[id(base)])
        return _references(v) > OURS + views[id(v.array)]

    return held


def _trace(step: Callable[..., Any], args: Any, kwargs: Any, inputs: list[Tensor]) -> tuple[Variant, Any]:
    log = Log()
    for t in inputs:
        if t.node is None:
            t.node = leaf(t._data, False)
        log.handles[t.node] = t
        log.see(t._data, t.node)
        log.varying.add(t.node)
    scope = recording.get()[1]
    token, mode = active.set(log), recording.set((TRACE, scope))
    try:
        result = step(*args, **kwargs)
    finally:
        recording.reset(mode)
        active.reset(token)
        _restore(log)
    outputs: list[Tensor] = []
    structure = _flatten(result, outputs, convert=False)
    _nothing_kept(log, outputs)
    builder = Builder(log, inputs)  # type: ignore[arg-type]
    program = builder.build(outputs)  # type: ignore[arg-type]
    settle(program, log, builder.of_node)
    plain = [wrap(t._data.copy() if any(t._data is x._data for x in inputs) else t._data) for t in outputs]
    _strip(log)
    variant = Variant(log, program, structure, inputs)
    return variant, _unflatten(structure, iter(plain))


def _nothing_kept(log: Log, outputs: list[Tensor]) -> None:
    """Refuse a step that stores a Tensor anywhere but in what it returns: a replay would not store it."""
    known = {id(t) for t in outputs} | {id(e.value) for e in log.events if isinstance(e, GradSet)}
    for attempt in range(2):
        kept = [t for r in log.made if (t := r()) is not None and id(t) not in known]
        if not kept:
            return
        if attempt == 0:
            del kept
            gc.collect()
    node: Any = kept[0].node
    where = log.lines.get(node)
    raise CompileError(
        f"the step keeps a Tensor of shape {node.shape}, computed by {node.op.name}{f' (at {where})' if where else ''}, somewhere "
        f"else than in what it returns: a program would not renew it. Return it, and store it outside."
    )


def _restore(log: Log) -> None:
    """Leaves that were assigned to are themselves again."""
    for event in reversed(log.events):
        if isinstance(event, Assigned):
            event.old.grad = event.new.grad
            event.handle.node = event.old


def _strip(log: Log) -> None:
    """Gradients that the recording left behind are plain Tensors."""
    for event in log.events:
        if isinstance(event, GradSet) and event.leaf.grad is not None:
            event.leaf.grad = wrap(event.leaf.grad._data)


# Arguments and results: Tensors in nested lists, tuples and dicts
def _flatten(value: Any, leaves: list[Tensor], convert: bool = True) -> Any:
    if isinstance(value, Tensor):
        leaves.append(value)
        return "tensor"
    if isinstance(value, np.ndarray) and convert:
        leaves.append(asarray(value))
        return "tensor"
    if isinstance(value, (list, tuple)):
        return (type(value), *(_flatten(v, leaves, convert) for v in value))
    if isinstance(value, dict):
        return (dict, *((k, _flatten(v, leaves, convert)) for k, v in value.items()))
    return ("value", value)


def _unflatten(structure: Any, leaves: Iterator[Any]) -> Any:
    if structure == "tensor":
        return next(leaves)
    if structure[0] is dict:
        return {k: _unflatten(v, leaves) for k, v in structure[1:]}
    if structure[0] == "value":
        return structure[1]
    kind = structure[0]
    return kind(_unflatten(v, leaves) for v in structure[1:])
