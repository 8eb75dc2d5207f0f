"""Recurrent layers over all time steps as one operation each: plain RNN, GRU and LSTM, in one direction.

What a step computes is said once, in minigrad's operations, by the functions of :data:`STEPS`. The operations ``rnn``, ``rnn_relu``,
``gru`` and ``lstm`` are loops of them: the products of all inputs are one, a step is one small product and a dozen calls into memory
that is there already, and the way back makes the gradient of each weight in one product over all steps and sequences (notes 001,
"Recurrent Neural Networks": backpropagation through time). Tests hold them equal to their steps; their second derivatives are those
of the steps. Training against the recorded steps, float32, two threads: GRU(64, 128) on (50, 32, 64) takes 0.35 of the time,
LSTM(32, 96) on (40, 16, 32) takes 0.3.

Gates lie one after the other, each (N, H), not side by side in rows: on (32, 256) a call takes a quarter of the time.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from minigrad.backend import namespace
from minigrad.graph import Handle, is_off
from minigrad.ops.elementwise import relu, sigmoid, tanh, where
from minigrad.ops.fused import linear
from minigrad.ops.linalg import matmul
from minigrad.ops.shape import broadcast_to, concat, reshape, split, stack, swapaxes, unstack
from minigrad.primitive import Operation, primitive

State = tuple[Any, ...]

# ---- a step: x holds W x + b of all gates side by side; U and v map the state before it to the same ------------------------------


def rnn_step(x: Any, state: State, U: Any, v: Any = None, activation: Callable[[Any], Any] = tanh) -> State:
    """``h' = tanh(x + U h)``."""
    return (activation(x + linear(state[0], U, v)),)


def rnn_relu_step(x: Any, state: State, U: Any, v: Any = None) -> State:
    """``h' = relu(x + U h)``."""
    return rnn_step(x, state, U, v, relu)


def lstm_step(x: Any, state: State, U: Any, v: Any = None, projection: Any = None) -> State:
    """``c' = f c + i g`` and ``h' = o tanh(c')``; the gates are i, f, g, o, in this order."""
    h, c = state
    i, f, g, o = split(x + linear(h, U, v), 4, -1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return (h if projection is None else linear(h, projection)), c


def gru_step(x: Any, state: State, U: Any, v: Any = None) -> State:
    """``h' = n + z (h - n)`` with ``n = tanh(x_n + r (U_n h + v_n))``; the gates are r, z, n, in this order.

    A fourth block of x is added to the product that r weighs.
    """
    (h,) = state
    (x_r, x_z, x_n, *more), (h_r, h_z, h_n) = split(x, x.shape[-1] // h.shape[-1], -1), split(linear(h, U, v), 3, -1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = tanh(x_n + r * (h_n + more[0] if more else h_n))
    return (n + z * (h - n),)


def gru_step_reset_before(x: Any, state: State, U: Any, U_n: Any) -> State:
    """``h' = n + z (h - n)`` with ``n = tanh(x_n + U_n (r h))``; U has the rows of r and z."""
    (h,) = state
    (x_r, x_z, x_n), (h_r, h_z) = split(x, 3, -1), split(linear(h, U), 2, -1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = tanh(x_n + linear(r * h, U_n))
    return (n + z * (h - n),)


STEPS: dict[str, Callable[..., State]] = {
    "rnn": rnn_step, "rnn_relu": rnn_relu_step, "lstm": lstm_step, "gru": gru_step, "gru_reset_before": gru_step_reset_before,
}  # fmt: skip


def by_steps(
    step: Callable[..., State], x: Any, state: State, weights: Sequence[Any], there: Any = None, reverse: bool = False
) -> tuple[Any, State]:
    """A loop over time that records every step: the first state of all steps, (T, N, H), and the last states.

    Args:
        step: ``step(x_t, state, *weights)`` to the next state.
        x: W x + b of all steps, (T, N, gates * H).
        state: before the first step.
        weights: what a step multiplies the state by.
        there: (T, N, 1), where a sequence has a step; it keeps its state where it has none.
        reverse: whether to go from the last step to the first.
    """
    steps, alive = unstack(x), None if there is None else unstack(there)
    outputs: list[Any] = [None] * len(steps)
    for t in reversed(range(len(steps))) if reverse else range(len(steps)):
        new = step(steps[t], state, *weights)
        state = new if alive is None else tuple(where(alive[t], after, before) for after, before in zip(new, state))
        outputs[t] = state[0]
    return stack(outputs), state


# ---- the same on blocks of arrays ------------------------------------------------------------------------------------------------
#
# Forward, G holds a step's sums W x + b, with the sign of the logistic gates turned, and becomes its gates, P has the products with
# the state, E what else the way back reads, `a` is free to use.
#
# On the way back all is linear in the gradients of the states. What they are multiplied by, the slopes K, is made for many steps at
# once where D, the gradients of the sums, will be; a step is left with little more than the product: with LSTM(32, 96) that takes
# 0.76 of the time of steps that make all by themselves, with LSTM(32, 32) 0.53, GRU(64, 128) 0.9, LSTM(64, 512) 1.02.


def _logistic(xp: Any, a: Any, one: Any) -> None:
    """``1 / (1 + exp(a))`` in place."""
    xp.exp(a, a)
    xp.add(a, one, a)
    xp.divide(one, a, a)


def _rnn_forward(xp: Any, G: Any, P: Any, E: Any, before: State, after: State, v: Any, a: Any, one: Any) -> None:
    xp.add(G, P, G)
    xp.tanh(G[0], after[0])


def _rnn_slopes(xp: Any, G: Any, E: Any, before: State, h_new: Any, K: Any) -> State:
    K[0] = 1 - h_new * h_new
    return ()


def _rnn_back(xp: Any, D: Any, grads: State) -> None:
    xp.multiply(D, grads[0], D)


def _relu_forward(xp: Any, G: Any, P: Any, E: Any, before: State, after: State, v: Any, a: Any, one: Any) -> None:
    xp.add(G, P, G)
    after[0][...] = relu.op.forward(G[0])  # type: ignore[attr-defined]


def _relu_slopes(xp: Any, G: Any, E: Any, before: State, h_new: Any, K: Any) -> State:
    K[0] = h_new > 0
    return ()


def _gru_forward(xp: Any, G: Any, P: Any, E: Any, before: State, after: State, v: Any, a: Any, one: Any) -> None:
    """G is n, r, z; P is r, z, n; E is the part of the product that r weighs."""
    (h,), n, gates, weighed = before, G[0], G[1:], P[2]
    xp.add(gates, P[:2], gates)
    _logistic(xp, gates, one)
    r, z = gates
    xp.add(weighed, v, E[0])
    xp.multiply(E[0], r, a)
    xp.add(n, a, n)
    xp.tanh(n, n)
    xp.subtract(h, n, a)
    xp.multiply(a, z, a)
    xp.add(a, n, after[0])


def _gru_slopes(xp: Any, G: Any, E: Any, before: State, h_new: Any, K: Any) -> State:
    """K belongs to the sums inside n, r and z, and to the weighed product; z dh goes past the sums."""
    (n, r, z), (to_n, to_r, to_z, weighed) = G, K
    new = 1 - z
    a = n * n
    a *= new
    xp.subtract(new, a, to_n)  # (1 - z) (1 - n^2)
    xp.multiply(to_n, r, weighed)
    xp.subtract(1, r, a)
    a *= E[0]
    xp.multiply(a, weighed, to_r)
    xp.subtract(before[0], n, a)
    a *= new
    xp.multiply(a, z, to_z)
    return (z,)


def _gru_back(xp: Any, D: Any, grads: State, z: Any) -> None:
    (dh,) = grads
    xp.multiply(D, dh, D)
    xp.multiply(dh, z, dh)


def _lstm_forward(xp: Any, G: Any, P: Any, E: Any, before: State, after: State, v: Any, a: Any, one: Any) -> None:
    """G is o, i, f, g, as P; E is tanh(c')."""
    (_, c), (h_new, c_new) = before, after
    xp.add(G, P, G)
    _logistic(xp, G[:3], one)
    o, i, f, g = G
    xp.tanh(g, g)
    xp.multiply(f, c, c_new)
    xp.multiply(i, g, a)
    xp.add(c_new, a, c_new)
    xp.tanh(c_new, E[0])
    xp.multiply(o, E[0], h_new)


def _lstm_slopes(xp: Any, G: Any, E: Any, before: State, h_new: Any, K: Any) -> State:
    """K of o belongs to dh; those of i, f and g to dc, to which dh adds o (1 - tanh(c')^2) dh. f dc goes past the sums."""
    (o, i, f, g), (end,), (_, c) = G, E, before
    slopes = 1 - G[:3]
    slopes *= G[:3]
    for slope, other, part in zip(slopes, (end, g, c), K):
        xp.multiply(slope, other, part)
    a, to_c = slopes[:2]
    xp.multiply(g, g, a)
    xp.subtract(1, a, a)
    xp.multiply(a, i, K[3])
    xp.multiply(end, end, to_c)
    xp.subtract(1, to_c, to_c)
    to_c *= o
    return to_c, f


def _lstm_back(xp: Any, D: Any, grads: State, to_c: Any, f: Any) -> None:
    (dh, dc), to_o, others = grads, D[0], D[1:]
    xp.multiply(to_c, dh, to_c)
    xp.add(dc, to_c, dc)
    xp.multiply(to_o, dh, to_o)
    xp.multiply(others, dc, others)
    xp.multiply(dc, f, dc)


class Cell(NamedTuple):
    """What is different from cell to cell.

    Attributes:
        step: one step in minigrad's operations.
        forward: the same on blocks: fills G, E and the states after it.
        slopes: of any number of steps, what D is linear in: K; and what else ``back`` takes.
        back: from the gradients of the states after a step, D in place of K; and in their place those of the states before it, but
            for what comes through the product with U.
        states: how many.
        logistic: which gates, of those of W, are.
        order: which are the blocks of G.
        inner: the same for U and P.
        extra: how many blocks E has.
        sums: how many blocks D has. The first ones belong to G, the last ones to P.
        around: whether the first state reaches the next one by more than the product, as well.
    """

    step: Callable[..., State]
    forward: Callable[..., None]
    slopes: Callable[..., State]
    back: Callable[..., None]
    states: int = 1
    logistic: tuple[int, ...] = ()
    order: tuple[int, ...] = (0,)
    inner: tuple[int, ...] = (0,)
    extra: int = 0
    sums: int = 1
    around: bool = False


CELLS = {
    "rnn": Cell(rnn_step, _rnn_forward, _rnn_slopes, _rnn_back),
    "rnn_relu": Cell(rnn_relu_step, _relu_forward, _relu_slopes, _rnn_back),
    "gru": Cell(gru_step, _gru_forward, _gru_slopes, _gru_back, 1, (0, 1), (2, 0, 1), (0, 1, 2), 1, 4, True),
    "lstm": Cell(lstm_step, _lstm_forward, _lstm_slopes, _lstm_back, 2, (0, 1, 3), (3, 0, 1, 2), (3, 0, 1, 2), 1, 4),
}


CHUNK = 1 << 18
"""How many slopes are made at once. With a sixteenth of them LSTM(32, 96) takes 1.1 of the time to go back, with more the same."""

# ---- the loops ---------------------------------------------------------------------------------------------------------------


def _blocks(a: Any, order: tuple[int, ...]) -> Any:
    """The gates' rows of a weight or bias, (gates * H, ...), as (gates, H, ...) in this order."""
    a = reshape(a, (len(order), a.shape[0] // len(order), *a.shape[1:]))
    return a if order == tuple(range(len(order))) else a[list(order)]


def _rows(a: Any, order: tuple[int, ...]) -> Any:
    """The inverse of :func:`_blocks`."""
    back = tuple(map(order.index, range(len(order))))
    return reshape(a if back == tuple(range(len(order))) else a[list(back)], (len(order) * a.shape[1], *a.shape[2:]))


class _Tape(NamedTuple):
    """What a run leaves: the operation's output, and behind it, in the same memory, what the way back reads.

    Attributes:
        out: (T + states - 1, N, H): the first state after each step, then all others after the last.
        others: all other states after each step, (states - 1, T, N, H).
        G: the gates, (gates, T, N, H).
        E: what else a cell keeps, (extra, T, N, H).
    """

    out: Any
    others: Any
    G: Any
    E: Any

    @classmethod
    def new(cls, cell: Cell, xp: Any, T: int, N: int, H: int, dtype: Any) -> _Tape:
        return cls.inside(xp.empty((cls.rows(cell, T), N, H), dtype), cell, T)

    @staticmethod
    def rows(cell: Cell, T: int) -> int:
        """How many (N, H) there are in all."""
        return T + cell.states - 1 + (cell.states - 1 + len(cell.order) + cell.extra) * T

    @classmethod
    def behind(cls, out: Any, cell: Cell, T: int) -> _Tape | None:
        """That of an output; None if its memory is its own."""
        memory = getattr(out, "base", None)
        whole = memory is not None and memory.shape == (cls.rows(cell, T), *out.shape[1:])
        return cls.inside(memory, cell, T) if whole else None

    @classmethod
    def inside(cls, memory: Any, cell: Cell, T: int) -> _Tape:
        at = T + cell.states - 1
        parts = [memory[:at]]
        for blocks in (cell.states - 1, len(cell.order), cell.extra):
            parts.append(memory[at : at + blocks * T].reshape((blocks, T, *memory.shape[1:])))
            at += blocks * T
        return cls(*parts)


def _run(cell: Cell, x: Any, W: Any, b: Any, U: Any, v: Any, states: State, there: Any, reverse: bool, keep: bool) -> Any:
    """All steps; ``keep`` leaves the gates behind the output."""
    xp, (T, N, _), H, gates = namespace(x), x.shape, U.shape[1], len(cell.order)
    dtype = xp.result_type(*(a for a in (x, W, b, U, v, *states) if a is not None))
    tape = _Tape.new(cell, xp, T, N, H, dtype)

    def turned(a: Any, order: tuple[int, ...]) -> Any:
        """Blocks of columns, with the sign of the logistic gates turned."""
        signs = xp.asarray([-1 if k in cell.logistic else 1 for k in order], dtype)
        return (_blocks(a, order) * signs[:, None, None]).swapaxes(1, 2)

    G = tape.G.reshape((gates, T * N, H))
    flat = x.reshape((T * N, x.shape[2]))
    xp.matmul(flat.astype(dtype, copy=False), turned(W, cell.order), G)
    bias, weighed = _biases(cell, b, v, H)
    if bias is not None:
        xp.add(G, turned(bias[:, None], cell.order), G)
    inner = xp.ascontiguousarray(turned(U, cell.inner))
    before, a, P = tuple(s.astype(dtype, copy=False) for s in states), xp.empty((N, H), dtype), xp.empty((gates, N, H), dtype)
    alive, one = _alive(there), xp.ones((), dtype)  # NumPy takes 0.3 us longer with a Python number
    steps = list(zip(range(T), tape.G.swapaxes(0, 1), tape.E.swapaxes(0, 1), tape.out, *tape.others))
    for t, blocks, extra, *after in reversed(steps) if reverse else steps:
        xp.matmul(before[0], inner, P)
        cell.forward(xp, blocks, P, extra, before, after, weighed, a, one)
        if alive is not None and not alive[t]:
            for new, old in zip(after, before):
                new[...] = xp.where(there[t], new, old)
        before = tuple(after)
    tape.out[T:] = tape.others[:, 0 if reverse else T - 1]
    return tape.out if keep else tape.out.copy()


def _biases(cell: Cell, b: Any, v: Any, H: int) -> tuple[Any, Any]:
    """What is added to all sums at once; and the bias of the weighed product, which is not among them."""
    weighed: Any = 0
    if v is not None and cell.sums > len(cell.order):
        weighed, v = v[-H:], v.copy()
        v[-H:] = 0
    both = b if v is None else v if b is None else b + v
    return both, weighed


def _alive(there: Any) -> list[bool] | None:
    """Whether all sequences have the t-th step."""
    return None if there is None else there.all((1, 2)).tolist()


def _run_back(
    cell: Cell, g: Any, y: Any, x: Any, W: Any, b: Any, U: Any, v: Any, states: State, there: Any, reverse: bool,
    each: list[Any] | None = None,
) -> Any:  # fmt: skip
    """All steps back: rows (..., N, H) of D, (T, N, sums * H), and of the gradients of the first states. ``each`` collects dL/dh_t.

    D lies as the products over all steps read it; those of an LSTM(32, 96) take half of the time that one for each gate would.
    """
    xp, (T, N, _), H, gates = namespace(x), x.shape, U.shape[1], len(cell.order)
    tape = _Tape.behind(y, cell, T) or _Tape.behind(_run(cell, x, W, b, U, v, states, there, reverse, True), cell, T)
    assert tape is not None
    dtype = xp.result_type(g, tape.out)
    # From here on, the first step is the one that was made first.
    turn = slice(None, None, -1 if reverse else 1)
    G, E, after = tape.G[:, turn], tape.E[:, turn], (tape.out[:T][turn], *tape.others[:, turn])
    upstream, there = g[:T][turn], None if there is None else there[turn]
    out = xp.empty((cell.sums * T + cell.states, N, H), dtype)
    rows = out[: cell.sums * T].reshape((T, N, cell.sums * H))[turn]
    D = rows.reshape((T, N, cell.sums, H)).swapaxes(1, 2)
    dh, *rest = grads = tuple(out[cell.sums * T :])
    dh[...] = 0
    for part, given in zip(rest, g[T:]):
        part[...] = given
    # One product for all gates, of rows: for GRU(32, 32) 0.9 of the time of one for each gate. But past 100^3 multiply-adds OpenBLAS
    # copies the operands first: for LSTM(32, 256) and 8 sequences 1.6 of that time. Then D is made gate by gate, and copied.
    size = max(1, CHUNK // max(1, cell.sums * N * H))
    whole = gates * N * H * H <= 100**3
    products = 1 if whole else gates
    inner = _blocks(U, cell.inner).reshape((products, gates * H // products, H)).astype(dtype, copy=False)
    P = dh[None] if whole and not cell.around else xp.empty((products, N, H), dtype)
    apart = None if whole else xp.empty((cell.sums, min(T, size), N, H), dtype).swapaxes(0, 1)
    alive = _alive(there)
    bounds = [0, *range(1, T, size), T]  # what is before the first step lies elsewhere
    for chunk in reversed(list(itertools.starmap(slice, itertools.pairwise(bounds)))):
        before = tuple(a[chunk.start - 1 : chunk.stop - 1] for a in after) if chunk.start else states
        K = D[chunk] if apart is None else apart[: chunk.stop - chunk.start]
        factors = cell.slopes(xp, G[:, chunk], E[:, chunk], before, after[0][chunk], K.swapaxes(0, 1))
        left = rows[chunk, None, :, -gates * H :] if whole else K[:, -gates:]
        for t, given, d, of_P, *more in reversed(list(zip(range(T)[chunk], upstream[chunk], K, left, *factors))):
            xp.add(dh, given, dh)
            if each is not None:
                each.append(dh.copy())
            past: list[Any] = []
            if alive is not None and not alive[t]:
                past = [xp.where(there[t], 0, part) for part in grads]
                for part in grads:
                    xp.multiply(part, there[t], part)
            cell.back(xp, d, grads, *more)
            xp.matmul(of_P, inner, P)
            if cell.around:
                for part in P:
                    xp.add(dh, part, dh)
            elif not whole:
                xp.add.reduce(P, 0, None, dh)
            for part, unchanged in zip(grads, past):
                xp.add(part, unchanged, part)
        if apart is not None:
            D[chunk] = K
    return out


# ---- the operations ----------------------------------------------------------------------------------------------------------


class _Latest(threading.local):
    """What the rules of one node share: the first of them goes back through time for all.

    It stands for these very values, is forgotten when the upstream gradient is, which an operation that slices the output makes
    anew in each pass, and nothing is given to the same rule twice.
    """

    values: tuple[weakref.ref[Any] | None, ...] = ()
    found: Any = None
    told: set[int]

    def get(self, i: int, values: State, make: Callable[[], Any]) -> Any:
        """``make()`` for rule ``i`` of a node with these values, the upstream gradient first."""
        known = len(values) == len(self.values) and all(a is (r and r()) for a, r in zip(values, self.values))
        if not known or i in self.told:
            first, *rest = values
            self.values = weakref.ref(first, self.forget), *(a if a is None else weakref.ref(a) for a in rest)
            self.found, self.told = make(), set()
        self.told.add(i)
        return self.found

    def forget(self, gone: Any) -> None:
        if self.values and self.values[0] is gone:
            self.values, self.found = (), None


_latest = _Latest()


def _product(D: Any, x: Any) -> Any:
    """``D^T x`` over all steps and sequences."""
    rows = D.shape[0] * D.shape[1]
    return matmul(swapaxes(reshape(D, (rows, D.shape[2])), 0, 1), reshape(x, (rows, x.shape[2])))


def _declare(name: str, math: str) -> tuple[Operation, Operation]:
    """The operation, and its way back, which gives D and the gradients of the first states for all its rules.

    Operands are x (T, N, I), W (gates * H, I), b, U (gates * H, H), v, which is b's like inside the gates, the first states h and c
    (N, H), and ``there`` (T, N, 1). The way back has the upstream gradient before them, and behind them the output, of which it
    reads what is kept behind it; without that it runs forward again.
    """
    cell = CELLS[name]
    gates = len(cell.order)

    def given(h: Any, c: Any) -> State:
        return (h, c)[: cell.states]

    def forward(
        x: Any, W: Any, b: Any, U: Any, v: Any, h: Any, c: Any = None, there: Any = None, reverse: bool = False,
        keep: bool = False,
    ) -> Any:  # fmt: skip
        _check(x, W, U, h, gates)
        return _run(cell, x, W, b, U, v, given(h, c), there, reverse, keep)

    def back(
        g: Any, x: Any, W: Any, b: Any, U: Any, v: Any, h: Any, c: Any = None, there: Any = None, kept: Any = None,
        reverse: bool = False,
    ) -> Any:  # fmt: skip
        return _run_back(cell, g, kept, x, W, b, U, v, given(h, c), there, reverse)

    def again(i: int) -> Callable[..., Any]:
        """The rule of ``back`` for operand i: that of the steps' own gradient."""

        def rule(
            u: Any, y: Any, g: Any, x: Any, W: Any, b: Any, U: Any, v: Any, h: Any, c: Any, there: Any, kept: Any, reverse: bool
        ) -> Any:
            operands = (g, x, W, b, U, v, h, c)
            return _latest.get(i, (u, *operands, there), lambda: _twice(cell, operands, u, there, reverse))[i]

        return rule

    def rule(i: int, part: Callable[..., Any]) -> Callable[..., Any]:
        def share(
            g: Any, y: Any, x: Any, W: Any, b: Any, U: Any, v: Any, h: Any, c: Any, there: Any, reverse: bool, keep: bool
        ) -> Any:
            values = (g, x, W, b, U, v, h, c, there, y)
            return part(_latest.get(i, values, lambda: step_back(*values, reverse)), y, x, W, h, reverse)

        return share

    def sums(found: Any, x: Any, inner: bool) -> Any:
        """D of the sums with W (or with U), (T, N, gates * H)."""
        (T, N, _), H = x.shape, found.shape[-1]
        D = reshape(found[: cell.sums * T], (T, N, cell.sums * H))
        return D if cell.sums == gates else D[..., -gates * H :] if inner else D[..., : gates * H]

    def to_x(found: Any, y: Any, x: Any, W: Any, h: Any, reverse: bool) -> Any:
        return matmul(sums(found, x, False), reshape(_blocks(W, cell.order), W.shape))

    def to_W(found: Any, y: Any, x: Any, W: Any, h: Any, reverse: bool) -> Any:
        return in_rows(_product(sums(found, x, False), x), cell.order)

    def to_b(found: Any, y: Any, x: Any, W: Any, h: Any, reverse: bool) -> Any:
        return in_rows(sums(found, x, False).sum(axis=(0, 1)), cell.order)

    def to_U(found: Any, y: Any, x: Any, W: Any, h: Any, reverse: bool) -> Any:
        T, D = x.shape[0], sums(found, x, True)
        first, rest, before = (D[-1:], D[:-1], y[1:T]) if reverse else (D[:1], D[1:], y[: T - 1])
        return in_rows(_product(rest, before) + _product(first, broadcast_to(h, y.shape[1:])[None]), cell.inner)

    def to_v(found: Any, y: Any, x: Any, W: Any, h: Any, reverse: bool) -> Any:
        return in_rows(sums(found, x, True).sum(axis=(0, 1)), cell.inner)

    def in_rows(a: Any, order: tuple[int, ...]) -> Any:
        return _rows(reshape(a, (gates, a.shape[0] // gates, *a.shape[1:])), order)

    def to_h(found: Any, y: Any, x: Any, W: Any, h: Any, reverse: bool) -> Any:
        return found[cell.sums * x.shape[0]]

    def to_c(found: Any, y: Any, x: Any, W: Any, h: Any, reverse: bool) -> Any:
        return found[cell.sums * x.shape[0] + 1]

    rules = [rule(i, part) for i, part in enumerate((to_x, to_W, to_b, to_U, to_v, to_h, to_c))]
    operation = primitive(
        forward, *rules[: 5 + cell.states], *([None] * (3 - cell.states)), needs="yabcdefh" + "g" * (cell.states > 1),
        gate="goes back through time", math=math, name=name,
        rule=(*(f"{part}, D = g back through time" for part in ("D @ W", "D.T @ x", "sum of D", "D.T @ (h before)", "sum of D")),
              "g back through time, before the first step", "g back through time, likewise")[: 5 + cell.states],
    )  # fmt: skip
    step_back = primitive(
        back, *[again(i) for i in range(6 + cell.states)], *([None] * (4 - cell.states)),
        needs="abcdefgi" + "h" * (cell.states > 1), gate="goes through time both ways", name=f"{name}_back",
        math=f"D, the gradients of the sums inside the gates of {name}", rule=("that of the steps' gradient",) * (6 + cell.states),
    )  # fmt: skip
    return operation, step_back


def state_gradients(node: Any, g: Any) -> list[Any]:
    """dL/dh_t of every step of a node, in the order in which the steps were made, from its upstream gradient."""
    y, x, W, b, U, v, h, c, there = node.saved
    each: list[Any] = []
    cell = CELLS[node.op.name]
    _run_back(cell, g, y, x, W, b, U, v, (h, c)[: cell.states], there, node.params[0], each)
    return each[::-1]


def _check(x: Any, W: Any, U: Any, h: Any, gates: int) -> None:
    H = U.shape[-1]
    if x.ndim != 3 or not len(x) or W.shape != (gates * H, x.shape[2]) or U.shape != (gates * H, H) or h.shape[-1:] != (H,):
        raise ValueError(
            f"x {tuple(x.shape)}, W {tuple(W.shape)}, U {tuple(U.shape)}, h {tuple(h.shape)}: expected (T, N, I) with T >= 1, "
            f"({gates} H, I), ({gates} H, H) and (N, H)"
        )


def _twice(cell: Cell, operands: State, u: Any, there: Any, reverse: bool) -> list[Any]:
    """The gradients of ``u . D`` for each operand of the way back, by the recorded steps; None for what is not there."""
    from minigrad.tensor import asarray
    from minigrad.transforms import gradients, vjp

    present = [i for i, a in enumerate(operands) if a is not None]

    def D(*given: Any) -> Any:
        operand: Any = dict(zip(present, given)).get
        g, x, W, b, U, v, h, c = (operand(i) for i in range(8))
        (T, N, _), H, states = x.shape, U.shape[1], (h, c)[: cell.states]
        zeros = namespace(x._data).zeros((T, N, (cell.sums - len(cell.order)) * H), x.dtype)
        sums = concat([linear(x, W, b), asarray(zeros)], -1).requires_grad_()
        y, last = by_steps(cell.step, sums, states, (U, v), there, reverse)
        y = concat([y, *(s[None] for s in last[1:])], 0)
        found = gradients(y, [sums, *states], g, create_graph=True)
        blocks = split(found[0], cell.sums, -1)
        order = (*cell.order, *range(len(cell.order), cell.sums))
        return concat([reshape(concat([blocks[k] for k in order], -1), (cell.sums * T, N, H)), stack(found[1:])], 0)

    recorded = isinstance(u, Handle)
    _, pull = vjp(D, *(operands[i] for i in present))
    found = pull(u if recorded else asarray(u))  # several, for x, W, U and h are always there
    parts = dict(zip(present, found if recorded else (part._data for part in found)))
    return [parts.get(i) for i in range(8)]


rnn, rnn_back = _declare("rnn", "h_t = tanh(W x_t + U h_(t-1) + b)")
rnn_relu, rnn_relu_back = _declare("rnn_relu", "h_t = relu(W x_t + U h_(t-1) + b)")
gru, gru_back = _declare("gru", "h_t = n + z (h_(t-1) - n), n = tanh(W_n x_t + r (U_n h_(t-1) + v_n))")
lstm, lstm_back = _declare("lstm", "c_t = f c_(t-1) + i g, h_t = o tanh(c_t)")
OPERATIONS = {"rnn": rnn, "rnn_relu": rnn_relu, "gru": gru, "lstm": lstm}


def through_time(
    name: str, x: Any, W: Any, b: Any, weights: State, state: State, there: Any = None, reverse: bool = False
) -> tuple[Any, State]:
    """:func:`by_steps` as one operation, W x + b included: the first state of all steps, and the last states."""
    (U, v), T, c = weights, x.shape[0], state[1] if len(state) > 1 else None
    asking = any(isinstance(a, Handle) and a.requires_grad for a in (x, W, b, U, v, *state))  # type: ignore[attr-defined]
    rows = OPERATIONS[name](x, W, b, U, v, state[0], c, there, reverse, asking and not is_off())
    # A new view, for its gradient is one too in every pass: see _Latest.
    y = reshape(rows, rows.shape) if len(state) == 1 else rows[:T]
    return y, (rows[0 if reverse else T - 1], *(rows[T + k] for k in range(len(state) - 1)))
