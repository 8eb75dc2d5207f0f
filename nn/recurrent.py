"""Recurrent networks: RNN, LSTM and GRU, their cells, variable lengths, and truncated backpropagation through time.

The recurrences are functions of minigrad/ops/recurrent.py. A layer is one operation for each direction; where somebody looks on
(``mg.inspect()``), and for the forms that have no such operation, it records every step, and going back through time is the backward
pass of that graph (notes 001, "Recurrent Neural Networks").
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from minigrad import backend, ops
from minigrad.creation import zeros
from minigrad.errors import DtypeError, ShapeError
from minigrad.graph import ALL, recording
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import init
from minigrad.nn.linear import _uses
from minigrad.nn.module import Module, empty_parameter
from minigrad.ops import split, stack, unstack, where
from minigrad.ops.fused import linear
from minigrad.ops.recurrent import OPERATIONS, STEPS, State, by_steps, through_time
from minigrad.tensor import Tensor, asarray

NONLINEARITIES = {"tanh": "rnn", "relu": "rnn_relu"}


# ---- what cells and layers share ---------------------------------------------------------------------------------------------


class _Recurrent(Module):
    """Parameters with one block of ``hidden_size`` rows for each gate, and the state that runs through the steps."""

    _gates: int = 1
    _states: tuple[str, ...] = ("h_0",)
    reset_after: bool | None = None
    """Of a GRU: its form."""
    input_size: int
    hidden_size: int
    bias: bool
    proj_size: int = 0

    @property
    def _kind(self) -> str:
        """Which recurrence of minigrad/ops/recurrent.py it is."""
        raise NotImplementedError

    def _take(self, sizes: dict[str, int], bias: bool) -> None:
        for name, size in sizes.items():
            if size <= 0:
                raise ValueError(f"{type(self).__name__}: {name}={size}: expected 1 or more")
            setattr(self, name, size)
        self.bias = bias

    def _make(self, features: int, suffix: str, device: str | None, dtype: Any) -> None:
        rows = self._gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, features), "weight_hh": (rows, self._size("h_0"))}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        for name, shape in shapes.items():
            setattr(self, name + suffix, empty_parameter(shape, device, dtype))

    def reset_parameters(self) -> None:
        """Draw the first values again: U(-k, k) with k = 1 / sqrt(hidden_size), as in PyTorch."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _size(self, state: str) -> int:
        return self.proj_size or self.hidden_size if state == "h_0" else self.hidden_size

    def _weights(self, suffix: str) -> tuple[Any, Any, State]:
        """W, b, and what a step multiplies the state by: U, its bias, a projection."""
        W, U = (getattr(self, name + suffix) for name in ("weight_ih", "weight_hh"))
        biases: Any = [getattr(self, name + suffix) for name in ("bias_ih", "bias_hh")] if self.bias else [None, None]
        b, v = biases
        if self.bias and not self.reset_after:  # after it, r multiplies v with U h: it cannot join b
            b, v = b + v, None
        if self.reset_after is False:
            return W, b, tuple(split(U, [2 * self.hidden_size], 0))
        return W, b, (U, v, getattr(self, "weight_hr" + suffix)) if self.proj_size else (U, v)

    def _given(self, hx: Any, leading: tuple[int, ...], what: str) -> State | None:
        """The initial states as a tuple, or None for zeros."""
        if hx is None:
            return None
        many = len(self._states) > 1
        if many != isinstance(hx, (tuple, list)) or (many and len(hx) != len(self._states)):
            wanted = f"a tuple ({', '.join(self._states)})" if many else "a tensor h_0"
            got = f"a {type(hx).__name__}" + (f" of {len(hx)}" if isinstance(hx, (tuple, list)) else "")
            raise TypeError(f"{self._path()}: {self._headline()} expects the initial state as {wanted}, got {got}")
        states = tuple(hx) if many else (hx,)
        for name, state in zip(self._states, states):
            shape = (*leading, self._size(name))
            if tuple(state.shape) != shape:
                raise ShapeError(
                    f"{self._path()}: {self._headline()} expects {name} of shape {shape}, {what}, got {tuple(state.shape)}"
                )
        return states

    def _zeros(self, x: Any, W: Any) -> State:
        """The state before the first step: of x's leading axes and device, and of the dtype of W x."""
        device, dtype = x.device if isinstance(x, Tensor) else None, np.result_type(x.dtype, W.dtype)
        return tuple(zeros((*x.shape[:-1], self._size(name)), dtype=dtype, device=device) for name in self._states)

    def _bare(self, states: list[Any] | State) -> Any:
        """A state as users hold it: a tensor, or a tuple of them."""
        return tuple(states) if len(self._states) > 1 else states[0]

    def multiply_adds(self, output: Any, *inputs: Any) -> int:
        return _uses(output.size // output.shape[-1], *self.parameters())


def detach_state(state: Any) -> Any:
    """The same state without its history: gradients stop here. Tuples, lists and dicts of states, and None, as well.

    Truncated backpropagation through time (notes 001): read a long sequence in chunks, carry the state from one to the next, and
    cut the graph between them, so that a step of learning costs one chunk of time and memory, and sees no further back::

        state = None
        for x, y in chunks:  # consecutive, time first
            output, state = rnn(x, state)
            loss = criterion(output, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            state = nn.detach_state(state)

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> rnn, x, state = nn.LSTM(2, 3), mg.ones((100, 1, 2)), None
        >>> for chunk in mg.split(x, 4):
        ...     output, state = rnn(chunk, state)
        ...     output.sum().backward()
        ...     state = nn.detach_state(state)
        >>> [s.shape for s in state]
        [(1, 1, 3), (1, 1, 3)]
    """
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, dict):
        return {name: detach_state(s) for name, s in state.items()}
    if isinstance(state, (tuple, list)):
        return type(state)([detach_state(s) for s in state])
    return state


# ---- cells -------------------------------------------------------------------------------------------------------------------


class _Cell(_Recurrent):
    """One step: the states have the input's leading axis, if it has one."""

    def _build(self, input_size: int, hidden_size: int, bias: bool, device: str | None, dtype: Any) -> None:
        self._take({"input_size": input_size, "hidden_size": hidden_size}, bias)
        self._make(input_size, "", device, dtype)
        self.reset_parameters()

    def forward(self, input: Any, hx: Any = None) -> Any:
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise self._refuse(
                f"(N, {self.input_size}) or ({self.input_size},)", input,
                f"A cell takes one step; nn.{type(self).__name__.removesuffix('Cell')} takes sequences." if input.ndim > 2
                else f"Build it with input_size={input.shape[-1] if input.ndim else 1}.",
            )  # fmt: skip
        state = self._given(hx, tuple(input.shape[:-1]), "the batch first, if there is one")
        W, b, weights = self._weights("")
        return self._bare(STEPS[self._kind](linear(input, W, b), state or self._zeros(input, W), *weights))

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh): x of (N, input_size) or (input_size,), h and h' of (N, hidden_size).

    Elman 1990; notes 001, "Recurrent Neural Networks" (with ReLU).

    Args:
        input_size: the size of x.
        hidden_size: the size of h.
        bias: whether there are biases.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        device: where the parameters go.
        dtype: theirs.

    Attributes:
        weight_ih: (hidden_size, input_size), at first U(-k, k) with k = 1 / sqrt(hidden_size), like all of them.
        weight_hh: (hidden_size, hidden_size).
        bias_ih: (hidden_size,).
        bias_hh: (hidden_size,).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> cell, h = nn.RNNCell(10, 20), None
        >>> for x in mg.ones((6, 3, 10)):
        ...     h = cell(x, h)
        >>> h.shape
        (3, 20)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", device: str | None = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        self.nonlinearity = _known(nonlinearity, "RNNCell")
        self._build(input_size, hidden_size, bias, device, dtype)

    @property
    def _kind(self) -> str:
        return NONLINEARITIES[self.nonlinearity]

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")


class LSTMCell(_Cell):
    """One step of an LSTM: x of (N, input_size) or (input_size,), and (h, c) of (N, hidden_size) each, to (h', c').

    ::

        i = sigmoid(W_ii x + b_ii + W_hi h + b_hi)   what to write
        f = sigmoid(W_if x + b_if + W_hf h + b_hf)   what to keep
        g = tanh(W_ig x + b_ig + W_hg h + b_hg)      the candidate
        o = sigmoid(W_io x + b_io + W_ho h + b_ho)   what to show
        c' = f * c + i * g
        h' = o * tanh(c')

    Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000; notes 001, "Long Short-Term Memory" (g is its v).

    Args:
        input_size: the size of x.
        hidden_size: the size of h and c.
        bias: whether there are biases.
        device: where the parameters go.
        dtype: theirs.

    Attributes:
        weight_ih: (4 * hidden_size, input_size): W_ii, W_if, W_ig, W_io. At first U(-k, k) with k = 1 / sqrt(hidden_size), as all.
        weight_hh: (4 * hidden_size, hidden_size): W_hi, W_hf, W_hg, W_ho.
        bias_ih: (4 * hidden_size,).
        bias_hh: (4 * hidden_size,).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> h, c = nn.LSTMCell(10, 20)(mg.ones((3, 10)))
        >>> h.shape, c.shape
        ((3, 20), (3, 20))
    """

    _gates, _states = 4, ("h_0", "c_0")

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: str | None = None, dtype: Any = None
    ) -> None:
        self._build(input_size, hidden_size, bias, device, dtype)

    @property
    def _kind(self) -> str:
        return "lstm"


class GRUCell(_Cell):
    """One step of a GRU: x of (N, input_size) or (input_size,), h and h' of (N, hidden_size).

    ::

        r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)           how much of the state the candidate sees
        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)           how much of the state stays
        n = tanh(W_in x + b_in + r * (W_hn h + b_hn))        the candidate
        h' = (1 - z) * n + z * h

    With ``reset_after=False`` the candidate is tanh(W_in x + b_in + W_hn (r * h) + b_hn): the gate resets before the product, not
    after it. That is the form of Cho et al. 2014 and notes 001 ("Gated Recurrent Unit", z is its u); the other, of notes 004,
    has all three products of h ready at once, and is PyTorch's. The parameters are the same, the functions are not.

    Args:
        input_size: the size of x.
        hidden_size: the size of h.
        bias: whether there are biases.
        device: where the parameters go.
        dtype: theirs.
        reset_after: which of the two forms.

    Attributes:
        weight_ih: (3 * hidden_size, input_size): W_ir, W_iz, W_in. At first U(-k, k) with k = 1 / sqrt(hidden_size), as all.
        weight_hh: (3 * hidden_size, hidden_size): W_hr, W_hz, W_hn.
        bias_ih: (3 * hidden_size,).
        bias_hh: (3 * hidden_size,).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.GRUCell(10, 20)(mg.ones((3, 10)), mg.zeros((3, 20))).shape
        (3, 20)
    """

    _gates = 3

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: str | None = None, dtype: Any = None, *,
        reset_after: bool = True,
    ) -> None:  # fmt: skip
        self.reset_after = reset_after
        self._build(input_size, hidden_size, bias, device, dtype)

    @property
    def _kind(self) -> str:
        return "gru" if self.reset_after else "gru_reset_before"

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")


def _known(nonlinearity: str, owner: str) -> str:
    if nonlinearity not in NONLINEARITIES:
        raise ValueError(f"{owner}: nonlinearity={nonlinearity!r}: expected 'tanh' or 'relu'")
    return nonlinearity


# ---- layers: cells over time, in one or both directions, on top of each other ------------------------------------------------


class _Layers(_Recurrent):
    def _build(
        self, input_size: int, hidden_size: int, num_layers: int, bias: bool, batch_first: bool, dropout: float,
        bidirectional: bool, device: str | None, dtype: Any, generator: np.random.Generator | None, proj_size: int = 0,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        self._take({"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}, bias)
        if not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout is the probability to drop: expected 0 <= dropout <= 1, got {dropout}")
        if dropout and num_layers == 1:
            warnings.warn(
                f"{name}: dropout={dropout} acts between layers, and there is 1: use num_layers=2 or nn.Dropout after it",
                stacklevel=3,
            )
        if not 0 <= proj_size < hidden_size:
            raise ValueError(f"{name}: proj_size={proj_size}: expected 0 (none) to {hidden_size - 1}, less than hidden_size")
        self.num_layers, self.batch_first, self.dropout = num_layers, batch_first, float(dropout)
        self.bidirectional, self.proj_size, self._generator = bidirectional, proj_size, generator
        for k, suffix in enumerate(self._suffixes()):
            features = self._size("h_0") * (1 + bidirectional) if k > bidirectional else input_size
            self._make(features, suffix, device, dtype)
        self.reset_parameters()

    def _suffixes(self) -> list[str]:
        return [f"_l{k}{way}" for k in range(self.num_layers) for way in ("", "_reverse")[: 1 + self.bidirectional]]

    def forward(self, input: Any, hx: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """The output of the last layer at every step, and the states after the last: ``(output, h_n)``, LSTM ``(output, (h_n, c_n))``.

        Args:
            input: (T, N, input_size), or (N, T, input_size) if ``batch_first``, or (T, input_size).
            hx: the states before the first step, zeros if None, of (num_layers * directions, N, size).
            lengths: how many steps each of the N sequences has; what comes after is padding, and has no influence at all. Outputs
                there are 0, and the final states are those at each sequence's own end, where the reverse direction starts: as
                with PyTorch's packed sequences, in any order of lengths.
        """
        batched = self._check(input)
        x = ops.expand_dims(input, 1) if not batched else ops.swapaxes(input, 0, 1) if self.batch_first else input
        layers, N = self.num_layers * (1 + self.bidirectional), x.shape[1]
        given = self._given(
            hx, (layers, N) if batched else (layers,), "(num_layers * directions, N, size)" if batched else "(layers, size)"
        )
        first: list[State | None] = [None] * layers
        if given is not None:
            first = list(zip(*(unstack(s if batched else ops.expand_dims(s, 1)) for s in given)))
        there = None if lengths is None else self._there(lengths, x, batched)
        if there is not None:
            x = where(there, x, 0)  # so that not even a NaN in the padding reaches a gradient

        last: list[State] = []
        outputs: list[Any] = []
        for k, suffix in enumerate(self._suffixes()):
            reverse = suffix.endswith("_reverse")
            if k and not reverse:
                x = F.dropout(x, self.dropout, self.training, generator=self._generator)
            y, state = self._through_time(x, first[k], suffix, reverse, there)
            last.append(state)
            outputs.append(y)
            if reverse or not self.bidirectional:
                x = ops.concat(outputs, -1) if self.bidirectional else y
                outputs = []
        y, states = x, [stack(s) for s in zip(*last)]
        if not batched:
            return ops.squeeze(y, 1), self._bare([ops.squeeze(s, 1) for s in states])
        return ops.swapaxes(y, 0, 1) if self.batch_first else y, self._bare(states)

    def _through_time(self, x: Any, state: State | None, suffix: str, reverse: bool, there: Any) -> tuple[Any, State]:
        """One layer in one direction: its output at every step, in the order of time, and its last state."""
        W, b, weights = self._weights(suffix)
        state, watched = state or self._zeros(x[0], W), recording.get()[0] == ALL
        if self._kind not in OPERATIONS or self.proj_size or watched:
            y, state = by_steps(STEPS[self._kind], linear(x, W, b), state, weights, there, reverse)
        else:
            y, state = through_time(self._kind, x, W, b, weights, state, there, reverse)
        return y if there is None else where(there, y, 0), state

    def _check(self, input: Any) -> bool:
        """Whether the input is a batch."""
        axes = "N, T" if self.batch_first else "T, N"
        expected = f"({axes}, {self.input_size}) or (T, {self.input_size})"
        if input.ndim not in (2, 3):
            raise self._refuse(expected, input, "Add or join axes, as with x[:, None] or x.reshape(...).")
        if input.shape[-1] != self.input_size:
            raise self._refuse(expected, input, f"Build it with input_size={input.shape[-1]}.")
        if not input.shape[1 if self.batch_first and input.ndim == 3 else 0]:
            raise self._refuse(expected, input, "A sequence needs at least one step.")
        return bool(input.ndim == 3)

    def _there(self, lengths: Any, x: Any, batched: bool) -> Tensor:
        """(T, N, 1), True where a step is within its sequence."""
        count = backend.to_numpy(lengths._data) if isinstance(lengths, Tensor) else np.asarray(lengths)
        T, N = x.shape[:2]
        if not batched or count.shape != (N,):
            raise ShapeError(
                f"{self._path()}: lengths: expected {N} numbers, one for each sequence of the batch, got shape {count.shape}"
                if batched else f"{self._path()}: lengths are for a batch: this input is one sequence; cut it, as in x[:length]"
            )  # fmt: skip
        if count.dtype.kind not in "iu":
            raise DtypeError(f"{self._path()}: lengths: expected integers, got {count.dtype}")
        if ((count < 0) | (count > T)).any():
            raise ShapeError(
                f"{self._path()}: lengths {count.tolist()}: expected 0 to {T}, the size of the time axis, {int(self.batch_first)}"
            )
        within = np.arange(T)[:, None, None] < count[:, None]
        return asarray(within, device=x.device if isinstance(x, Tensor) else None)

    def flatten_parameters(self) -> None:
        """Nothing to do: the layout that PyTorch restores with it is one that CUDA's fused kernel asks for."""

    def extra_repr(self) -> str:
        shown = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        rest = [f"{name}={getattr(self, name)}" for name, default in shown.items() if getattr(self, name) != default]
        return ", ".join([str(self.input_size), str(self.hidden_size), *rest])


class RNN(_Layers):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh) over time: (T, N, input_size) to (T, N, hidden_size), and the last states.

    Elman 1990; notes 001, "Recurrent Neural Networks" (with ReLU). Many to one: use the last state; many to many: the output.
    Called as ``rnn(input, h_0=None, lengths=None)``, it returns ``output, h_n``:

    - input: (T, N, input_size), (N, T, input_size) with ``batch_first``, or one sequence (T, input_size).
    - output: as the input, with hidden_size features, forward and backward side by side if ``bidirectional``.
    - h_0, h_n: (num_layers * directions, N, hidden_size), without N for one sequence.
    - lengths: N integers, where sequences end before T: see :meth:`forward`.

    Each direction of each layer is one operation (see minigrad/ops/recurrent.py); inside ``mg.inspect()`` every step is recorded.

    Args:
        input_size: the size of x_t.
        hidden_size: the size of h_t.
        num_layers: how many, each on the output of the one before.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: whether there are biases.
        batch_first: whether the batch is axis 0 of input and output, not axis 1. The states stay as they are.
        dropout: the probability to drop an element of each layer's output but the last's, while training.
        bidirectional: whether each layer also reads from the end.
        device: where the parameters go.
        dtype: theirs.
        generator: where dropout's draws come from; by default the generator that ``mg.manual_seed`` sets.

    Attributes:
        weight_ih_l0: (hidden_size, input_size), at first U(-k, k) with k = 1 / sqrt(hidden_size), like all of them. Those of
            layer k end in ``_lk``, of the reverse direction in ``_lk_reverse``.
        weight_hh_l0: (hidden_size, hidden_size).
        bias_ih_l0: (hidden_size,).
        bias_hh_l0: (hidden_size,).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> output, h = nn.RNN(10, 20, num_layers=2)(mg.ones((5, 3, 10)))
        >>> output.shape, h.shape
        ((5, 3, 20), (2, 3, 20))
        >>> output, h = nn.RNN(10, 20)(mg.ones((5, 3, 10)), lengths=[5, 2, 3])
        >>> bool(mg.all(output[1, 1] == h[0, 1]))
        True
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device: str | None = None, dtype: Any = None,
        *, generator: np.random.Generator | None = None,
    ) -> None:  # fmt: skip
        self.nonlinearity = _known(nonlinearity, "RNN")
        self._build(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, generator)

    @property
    def _kind(self) -> str:
        return NONLINEARITIES[self.nonlinearity]


class LSTM(_Layers):
    """Long short-term memory over time: (T, N, input_size) to (T, N, hidden_size), and the last states.

    ::

        i, f, o = sigmoid(W_i x_t + U_i h_(t-1) + b_i), and so for f and o
        g = tanh(W_g x_t + U_g h_(t-1) + b_g)
        c_t = f * c_(t-1) + i * g
        h_t = o * tanh(c_t)                                  with proj_size: W_hr (o * tanh(c_t))

    Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000; notes 001, "Long Short-Term Memory". The gradient goes
    from c_t to c_(t-1) through a product with f alone. ``proj_size`` is the projection of Sak et al. 2014. Called as
    ``lstm(input, (h_0, c_0)=None, lengths=None)``, it returns ``output, (h_n, c_n)``, shaped as in :class:`RNN`; c has always
    hidden_size features, h and the output have proj_size if that is not 0.

    Args:
        input_size: the size of x_t.
        hidden_size: the size of c_t, and of h_t.
        num_layers: how many, each on the output of the one before.
        bias: whether there are biases.
        batch_first: whether the batch is axis 0 of input and output, not axis 1. The states stay as they are.
        dropout: the probability to drop an element of each layer's output but the last's, while training.
        bidirectional: whether each layer also reads from the end.
        proj_size: the size of h_t, if it is to be smaller than c_t; 0 for no projection.
        device: where the parameters go.
        dtype: theirs.
        generator: where dropout's draws come from; by default the generator that ``mg.manual_seed`` sets.

    Attributes:
        weight_ih_l0: (4 * hidden_size, input_size): the rows of i, f, g, o. Names and first values as in :class:`RNN`.
        weight_hh_l0: (4 * hidden_size, size of h).
        bias_ih_l0: (4 * hidden_size,).
        bias_hh_l0: (4 * hidden_size,).
        weight_hr_l0: (proj_size, hidden_size), if there is a projection.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> output, (h, c) = nn.LSTM(10, 20, bidirectional=True)(mg.ones((5, 3, 10)))
        >>> output.shape, h.shape, c.shape
        ((5, 3, 40), (2, 3, 20), (2, 3, 20))
    """

    _gates, _states = 4, ("h_0", "c_0")

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, device: str | None = None, dtype: Any = None, *,
        generator: np.random.Generator | None = None,
    ) -> None:  # fmt: skip
        self._build(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, generator, proj_size
        )

    @property
    def _kind(self) -> str:
        return "lstm"


class GRU(_Layers):
    """Gated recurrent unit over time: (T, N, input_size) to (T, N, hidden_size), and the last states.

    ::

        r = sigmoid(W_r x_t + U_r h_(t-1) + b_r)
        z = sigmoid(W_z x_t + U_z h_(t-1) + b_z)
        n = tanh(W_n x_t + b_n + r * (U_n h_(t-1) + b_hn))   reset_after=False: tanh(W_n x_t + U_n (r * h_(t-1)) + b_n)
        h_t = (1 - z) * n + z * h_(t-1)

    Cho et al. 2014; notes 001, "Gated Recurrent Unit", have the form of ``reset_after=False``, notes 004 and PyTorch the other:
    see :class:`GRUCell`. Called as ``gru(input, h_0=None, lengths=None)``, it returns ``output, h_n``, shaped as in :class:`RNN`.

    Args:
        input_size: the size of x_t.
        hidden_size: the size of h_t.
        num_layers: how many, each on the output of the one before.
        bias: whether there are biases.
        batch_first: whether the batch is axis 0 of input and output, not axis 1. The states stay as they are.
        dropout: the probability to drop an element of each layer's output but the last's, while training.
        bidirectional: whether each layer also reads from the end.
        device: where the parameters go.
        dtype: theirs.
        reset_after: which of the two forms.
        generator: where dropout's draws come from; by default the generator that ``mg.manual_seed`` sets.

    Attributes:
        weight_ih_l0: (3 * hidden_size, input_size): the rows of r, z, n. Names and first values as in :class:`RNN`.
        weight_hh_l0: (3 * hidden_size, hidden_size).
        bias_ih_l0: (3 * hidden_size,).
        bias_hh_l0: (3 * hidden_size,).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> output, h = nn.GRU(10, 20, batch_first=True)(mg.ones((3, 5, 10)), mg.zeros((1, 3, 20)))
        >>> output.shape, h.shape
        ((3, 5, 20), (1, 3, 20))
    """

    _gates = 3

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, device: str | None = None, dtype: Any = None, *,
        reset_after: bool = True, generator: np.random.Generator | None = None,
    ) -> None:  # fmt: skip
        self.reset_after = reset_after
        self._build(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, generator)

    @property
    def _kind(self) -> str:
        return "gru" if self.reset_after else "gru_reset_before"

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")
