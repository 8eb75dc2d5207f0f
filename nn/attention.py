"""Attention: multi-head (Vaswani et al. 2017), additive (Bahdanau et al. 2015), and where a vector stands in its sequence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend, ops
from minigrad.errors import ShapeError
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import init
from minigrad.nn.dropout import Dropout
from minigrad.nn.linear import Linear
from minigrad.nn.module import Module, Parameter, empty_parameter
from minigrad.tensor import Tensor, asarray


class MultiheadAttention(Module):
    """head_h = softmax(q_h k_h^T / sqrt(d)) v_h, y = [head_1, ..., head_H] W_o^T + b_o, with q = x_q W_q^T + b_q and k, v alike.

    Each head sees d = embed_dim / H of the numbers of q, k and v: Vaswani et al. 2017, section 3.2. Shapes: query (L, N, E), key
    (S, N, kdim), value (S, N, vdim) to (L, N, E); batches first with ``batch_first``; or all of them without the batch axis N.

    Args:
        embed_dim: E.
        num_heads: H, which divides E.
        dropout: the probability to drop a weight of the softmax, while training.
        bias: whether there are b_q, b_k, b_v and b_o.
        add_bias_kv: append a learned key and value to every sequence.
        add_zero_attn: append a key and value of zeros, so that a query can attend to nothing.
        kdim: the size of a key; E if None.
        vdim: the size of a value; E if None.
        batch_first: whether shapes are (N, L, E).
        device: where the parameters go.
        dtype: theirs.

    Attributes:
        in_proj_weight: W_q, W_k and W_v above each other, (3 E, E), at first Xavier uniform; None if kdim or vdim differ from E.
        q_proj_weight: W_q, (E, E), where in_proj_weight is None; with k_proj_weight (E, kdim) and v_proj_weight (E, vdim).
        in_proj_bias: b_q, b_k and b_v, (3 E,), at first 0, or None.
        bias_k: (1, 1, E), as bias_v, or None.
        out_proj: W_o and b_o, a :class:`Linear`; its bias is 0 at first.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> x = mg.ones((5, 2, 8))
        >>> y, weights = nn.MultiheadAttention(8, num_heads=2)(x, x, x, is_causal=True)
        >>> y.shape, weights.shape
        ((5, 2, 8), (2, 5, 5))
    """

    _shown = ("embed_dim", "num_heads", "dropout", "batch_first")
    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
        device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            near = [h for h in range(1, embed_dim + 1) if embed_dim % h == 0]
            raise ValueError(
                f"MultiheadAttention: embed_dim={embed_dim} does not divide into num_heads={num_heads} heads; "
                f"it does into {', '.join(map(str, near)) or 'none: it must be positive'}"
            )
        if not 0 <= dropout <= 1:
            raise ValueError(
                f"MultiheadAttention: dropout is the probability to drop: expected 0 <= dropout <= 1, got {dropout}"
            )
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self.dropout, self.add_zero_attn, self.batch_first = dropout, add_zero_attn, batch_first

        def new(*shape: int) -> Parameter:
            return empty_parameter(shape, device, dtype)

        together = self.kdim == self.vdim == embed_dim
        self.in_proj_weight = new(3 * embed_dim, embed_dim) if together else None
        self.q_proj_weight = None if together else new(embed_dim, embed_dim)
        self.k_proj_weight = None if together else new(embed_dim, self.kdim)
        self.v_proj_weight = None if together else new(embed_dim, self.vdim)
        self.in_proj_bias = new(3 * embed_dim) if bias else None
        self.bias_k, self.bias_v = (new(1, 1, embed_dim), new(1, 1, embed_dim)) if add_bias_kv else (None, None)
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the first values again."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        self.out_proj.reset_parameters()
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self, query: Any, key: Any, value: Any, key_padding_mask: Any = None, need_weights: bool = True, attn_mask: Any = None,
        average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Any, Any]:  # fmt: skip
        """The output, and the weights of the softmax or None.

        Masks are boolean, True where a query must *not* attend, or floating, added to the scores. A query that may attend to
        nothing gets weights 0, so y = b_o.

        Args:
            query: (L, N, E), (N, L, E) with ``batch_first``, or (L, E).
            key: (S, N, kdim), (N, S, kdim) or (S, kdim).
            value: (S, N, vdim), (N, S, vdim) or (S, vdim).
            key_padding_mask: (N, S), or (S,): keys that are padding.
            need_weights: whether to return the weights.
            attn_mask: (L, S), or (N H, L, S), for each head of each sample.
            average_attn_weights: whether the weights are the mean over the heads, (N, L, S), or each head's, (N, H, L, S).
            is_causal: whether query i may attend to keys 0 to i only; an ``attn_mask`` counts as well.

        Raises:
            ShapeError: if shapes do not fit each other or the module.
            DtypeError: if a mask has integers.
        """
        self._check(query, key, value)
        batched, alike = query.ndim == 3, query is key is value
        if not batched:
            query, key, value = (x[None] for x in (query, key, value))
        elif not self.batch_first:
            query, key, value = (ops.swapaxes(x, 0, 1) for x in (query, key, value))
        bias = self._bias(query, key, attn_mask, key_padding_mask, is_causal, batched)
        q, k, v = self._project(query, key, value, alike)
        if self.bias_k is not None:
            k, v = (
                ops.concat([x, ops.broadcast_to(row, (len(x), 1, self.embed_dim))], axis=1)
                for x, row in ((k, self.bias_k), (v, self.bias_v))
            )
        q, k, v = (ops.swapaxes(x.reshape((*x.shape[:2], self.num_heads, self.head_dim)), 1, 2) for x in (q, k, v))
        if self.add_zero_attn:
            k, v = (F.pad(x, (0, 0, 0, 1)) for x in (k, v))
        if bias is not None and k.shape[2] != key.shape[1]:
            bias = F.pad(bias, (0, k.shape[2] - key.shape[1]))

        weights = F.masked_softmax(ops.matmul(q / math.sqrt(self.head_dim), ops.swapaxes(k, -2, -1)), bias)
        weights = F.dropout(weights, self.dropout, self.training)
        y = self.out_proj(ops.swapaxes(ops.matmul(weights, v), 1, 2).reshape(query.shape))

        told = None if not need_weights else weights.mean(axis=1) if average_attn_weights else weights
        if not batched:
            return y[0], None if told is None else told[0]
        return y if self.batch_first else ops.swapaxes(y, 0, 1), told

    def _project(self, query: Any, key: Any, value: Any, alike: bool) -> list[Any]:
        if alike and self.in_proj_weight is not None:
            return ops.split(F.linear(query, self.in_proj_weight, self.in_proj_bias), 3, axis=-1)
        biases = [None] * 3 if self.in_proj_bias is None else ops.split(self.in_proj_bias, 3)
        weights = (
            [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
            if self.in_proj_weight is None
            else ops.split(self.in_proj_weight, 3)
        )
        return [F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases)]

    def _bias(self, query: Any, key: Any, attn_mask: Any, key_padding_mask: Any, is_causal: bool, batched: bool) -> Any:
        """What the masks add to the scores (N, H, L, S), all together, or None."""
        (n, length, _), size = query.shape, key.shape[1]
        bias = F.causal_bias(length, size, query) if is_causal else None
        for name, mask, shapes in (
            ("attn_mask", attn_mask, {(length, size): (1, 1, length, size),
                                      (n * self.num_heads, length, size): (n, self.num_heads, length, size)}),
            ("key_padding_mask", key_padding_mask, {(n, size) if batched else (size,): (n, 1, 1, size)}),
        ):  # fmt: skip
            if mask is not None:
                added = F.mask_bias(mask, query, True, f"{self._path()}: {name}")
                if tuple(added.shape) not in shapes:
                    raise ShapeError(
                        f"{self._path()}: expected {name} of shape {' or '.join(map(str, shapes))}, got {tuple(added.shape)}, "
                        f"for {length} queries, {size} keys, a batch of {n} and {self.num_heads} heads"
                    )
                added = added.reshape(shapes[tuple(added.shape)])
                bias = added if bias is None else bias + added
        return bias

    def _check(self, query: Any, key: Any, value: Any) -> None:
        for name, x, features in (("query", query, "embed_dim"), ("key", key, "kdim"), ("value", value, "vdim")):
            size = getattr(self, features)
            if x.ndim not in (2, 3) or x.ndim != query.ndim or x.shape[-1] != size:
                letter = "L" if name == "query" else "S"
                shape = f"(N, {letter}, {size})" if self.batch_first else f"({letter}, N, {size})"
                raise self._refuse(
                    f"{shape} or ({letter}, {size}) for its {name}", x,
                    f"Query, key and value have as many axes; their last one is embed_dim={self.embed_dim}, kdim={self.kdim}, "
                    f"vdim={self.vdim}.",
                )  # fmt: skip
        batch = 0 if self.batch_first else 1
        if key.shape[:-1] != value.shape[:-1] or (query.ndim == 3 and query.shape[batch] != key.shape[batch]):
            raise ShapeError(
                f"{self._path()}: query, key and value have shapes {tuple(query.shape)}, {tuple(key.shape)}, {tuple(value.shape)}: "
                f"expected as many keys as values, and one batch size in axis {batch} (batch_first={self.batch_first})"
            )

    def multiply_adds(self, output: Any, *inputs: Any) -> int:
        size, keys = self.embed_dim, inputs[1].size // self.kdim if len(inputs) > 1 else output.size // self.embed_dim
        biases = 0 if self.in_proj_bias is None else size
        return int(output.size // size * size * (size + bool(biases)) + keys * (size * (self.kdim + self.vdim) + 2 * biases))


class AdditiveAttention(Module):
    """e_ij = v . tanh(W q_i + U k_j), a_i = softmax(e_i), c_i = sum_j a_ij value_j: Bahdanau et al. 2015, appendix A.1.2.

    The attention of the first neural translators: q is the decoder's state, k and value are the encoder's states. Shapes:
    (..., L, query_dim), (..., S, key_dim), (..., S, value_dim) to c (..., L, value_dim) and a (..., L, S). For one decoder step
    pass ``query[:, None]``.

    Args:
        query_dim: the size of a query.
        key_dim: the size of a key.
        hidden_dim: the size of v.
        device: where the parameters go.
        dtype: theirs.

    Attributes:
        query_proj: W, (hidden_dim, query_dim), a :class:`Linear` without bias.
        key_proj: U, (hidden_dim, key_dim), another.
        energy: v, (1, hidden_dim), another.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> context, weights = nn.AdditiveAttention(4, 6, 8)(mg.ones((2, 1, 4)), mg.ones((2, 5, 6)))
        >>> context.shape, weights.shape
        ((2, 1, 6), (2, 1, 5))
    """

    def __init__(self, query_dim: int, key_dim: int, hidden_dim: int, device: str | None = None, dtype: Any = None) -> None:
        self.query_proj = Linear(query_dim, hidden_dim, False, device, dtype)
        self.key_proj = Linear(key_dim, hidden_dim, False, device, dtype)
        self.energy = Linear(hidden_dim, 1, False, device, dtype)

    def forward(self, query: Any, key: Any, value: Any = None, key_padding_mask: Any = None) -> tuple[Any, Any]:
        """The contexts and the weights.

        Args:
            query: (..., L, query_dim).
            key: (..., S, key_dim).
            value: (..., S, value_dim); the keys if None.
            key_padding_mask: (..., S): boolean, True for keys that are padding, or floating, added to e. Where all are padding,
                weights and context are 0.

        Raises:
            ShapeError: if shapes do not fit each other or the module.
            DtypeError: if the mask has integers.
        """
        value = key if value is None else value
        if query.ndim < 2 or key.ndim < 2 or key.shape[:-1] != value.shape[:-1]:
            raise ShapeError(
                f"{self._path()}: query, key and value have shapes {tuple(query.shape)}, {tuple(key.shape)}, {tuple(value.shape)}: "
                f"expected (..., L, query_dim), (..., S, key_dim) and (..., S, value_dim); for one query pass query[..., None, :]"
            )
        bias = None
        if key_padding_mask is not None:
            bias = F.mask_bias(key_padding_mask, query, True, f"{self._path()}: key_padding_mask")
            if tuple(bias.shape) != tuple(key.shape[:-1]):
                raise ShapeError(
                    f"{self._path()}: expected key_padding_mask of shape {tuple(key.shape[:-1])}, that of the keys without their "
                    f"last axis, got {tuple(bias.shape)}"
                )
            bias = ops.expand_dims(bias, -2)
        hidden = ops.tanh(ops.expand_dims(self.query_proj(query), -2) + ops.expand_dims(self.key_proj(key), -3))
        weights = F.masked_softmax(self.energy(hidden)[..., 0], bias)
        return ops.matmul(weights, value), weights


class _Positions(Module):
    """x + P, row by row of each sequence."""

    _shown = ("d_model", "max_len", "batch_first")

    def _build(self, d_model: int, max_len: int, dropout: float, batch_first: bool) -> None:
        self.d_model, self.max_len, self.batch_first = d_model, max_len, batch_first
        self.dropout = Dropout(dropout)

    def _add(self, input: Any, table: Any, offset: int) -> Any:
        if input.ndim not in (2, 3) or input.shape[-1] != self.d_model:
            batch = f"(N, L, {self.d_model})" if self.batch_first else f"(L, N, {self.d_model})"
            raise self._refuse(f"{batch} or (L, {self.d_model})", input, "Build it with another d_model, or reshape the input.")
        axis = 1 if self.batch_first and input.ndim == 3 else 0
        end = offset + input.shape[axis]
        if offset < 0 or end > self.max_len:
            raise self._refuse(
                f"at most {self.max_len} positions in axis {axis}", input,
                f"These are positions {offset} to {end - 1}: build it with a larger max_len, or with another batch_first.",
            )  # fmt: skip
        rows = table[offset:end]
        return self.dropout(input + (rows[:, None] if input.ndim == 3 and axis == 0 else rows))


class SinusoidalPositionalEncoding(_Positions):
    """y = x + P, where P[t, 2i] = sin(t / 10000^(2i / d)) and P[t, 2i + 1] = cos(t / 10000^(2i / d)). Nothing is learned.

    Attention does not see the order of its keys; this tells it. P[t + k] is a rotation of P[t] by angles that depend on k alone.
    Vaswani et al. 2017, section 3.5. Shapes: (L, N, d), (N, L, d) with ``batch_first``, or (L, d).

    Args:
        d_model: d.
        max_len: how many rows of P are computed.
        dropout: the probability to drop an element of y, while training.
        batch_first: whether shapes are (N, L, d).
        base: the 10000.
        device: where P goes.
        dtype: its dtype.

    Attributes:
        table: P, (max_len, d), a buffer that is not saved.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.SinusoidalPositionalEncoding(4)(mg.zeros((2, 4))).numpy().round(2)
        array([[0.  , 1.  , 0.  , 1.  ],
               [0.84, 0.54, 0.01, 1.  ]], dtype=float32)
    """

    table: Tensor

    def __init__(
        self, d_model: int, max_len: int = 5000, dropout: float = 0.0, batch_first: bool = False, base: float = 10000.0,
        device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self._build(d_model, max_len, dropout, batch_first)
        column = np.arange(d_model)
        angle = np.arange(max_len)[:, None] / base ** (column // 2 * 2 / d_model)
        table = asarray(np.where(column % 2, np.cos(angle), np.sin(angle)), dtype or backend.get_default_dtype(), device)
        self.register_buffer("table", table, persistent=False)

    def forward(self, input: Any, offset: int = 0) -> Any:
        """With ``offset``, the first row of x stands at that position."""
        return self._add(input, self.table, offset)


class LearnedPositionalEncoding(_Positions):
    """y = x + P, where the rows of P are learned: Gehring et al. 2017; BERT and GPT. Shapes as :class:`SinusoidalPositionalEncoding`.

    Args:
        d_model: d.
        max_len: how many rows P has: no longer sequence can be read.
        dropout: the probability to drop an element of y, while training.
        batch_first: whether shapes are (N, L, d).
        std: the standard deviation of the first values.
        device: where P goes.
        dtype: its dtype.

    Attributes:
        weight: P, (max_len, d), at first N(0, std^2).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.LearnedPositionalEncoding(4, max_len=16, batch_first=True)(mg.zeros((3, 10, 4))).shape
        (3, 10, 4)
    """

    def __init__(
        self, d_model: int, max_len: int, dropout: float = 0.0, batch_first: bool = False, std: float = 0.02,
        device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self._build(d_model, max_len, dropout, batch_first)
        self.std = std
        self.weight = empty_parameter((max_len, d_model), device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the first values again."""
        init.normal_(self.weight, 0.0, self.std)

    def forward(self, input: Any, offset: int = 0) -> Any:
        """With ``offset``, the first row of x stands at that position."""
        return self._add(input, self.weight, offset)
