"""Seq2seq with attention: Bahdanau, Cho & Bengio 2015, "Neural machine translation by jointly learning to align and translate"."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import nn, ops
from minigrad.errors import ShapeError
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.models._decoding import State, beam_search, evaluating, greedy, tokens_of
from minigrad.tensor import Tensor, asarray


class Seq2Seq(nn.Module):
    """Reads a source (N, S), then writes a target (N, T) token by token, looking back at what matters for each: RNNsearch.

    ::

        h_j = [forward h_j, backward h_j]                       encoder: a GRU in both directions, j = 1 .. S
        s_0 = tanh(W backward h_1 + b)
        e_ij = v . tanh(W_a s_(i-1) + U_a h_j)                  alignment of what is written next with what was read at j
        a_i = softmax(e_i),  c_i = sum_j a_ij h_j               attention weights, context
        s_i = GRU([E y_(i-1), c_i], s_(i-1))                    decoder
        p(y_i | y_1 .. y_(i-1), source) = softmax(W_o maxout([s_i, E y_(i-1), c_i]))

    ===============  ==================================  ====================================
    layer            what, with E, H, A as below         parameters
    ===============  ==================================  ====================================
    source, target   embeddings                          (V_s + V_t) E
    encoder          GRU in two directions               2 * 3 H (E + H + 2)
    bridge           backward h_1 to s_0                 H H + H
    attention        v, W_a, U_a                         A + A H + 2 A H
    decoder          GRU cell on E + 2 H numbers         3 H (E + 3 H + 2)
    readout          maxout: H / 2 units of two pieces   H (3 H + E) + H
    head             affine                              V_t H / 2 + V_t
    ===============  ==================================  ====================================

    Notes 000, "Transformers": a context of fixed length is a bottleneck, so every step has its own. In training the decoder reads
    the target itself, one step behind (teacher forcing); later what it wrote. Of the paper's equations this is appendix A with
    s_i in the readout as in section 3.1; its GRU is ``reset_after=False``, and the sizes are the defaults.

    Args:
        source_size: V_s, how many tokens the source's language has.
        target_size: V_t.
        embedding_dim: E.
        hidden_size: H, an even number.
        attention_dim: A; H if None.
        dropout: the probability to drop an element of the embeddings and of the readout, while training.
        padding_idx: the token after the end of shorter sources; it has no influence.
        reset_after: the form of the GRUs, see :class:`minigrad.nn.GRUCell`.
        device: where the parameters go.
        dtype: theirs.

    Raises:
        ValueError: for an odd hidden_size.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import Seq2Seq
        >>> model = Seq2Seq(source_size=9, target_size=7, embedding_dim=4, hidden_size=6)
        >>> source = mg.tensor([[3, 5, 8, 2], [4, 2, 0, 0]])  # 0 is padding
        >>> logits, weights = model(source, mg.tensor([[1, 5, 3], [1, 6, 2]]), need_weights=True)
        >>> logits.shape, weights.shape
        ((2, 3, 7), (2, 3, 4))
        >>> model.greedy(source, start=1, end=2, max_length=5).shape[0]
        2
    """

    _shown = ("padding_idx",)

    def __init__(
        self, source_size: int, target_size: int, embedding_dim: int = 620, hidden_size: int = 1000, attention_dim: int | None = None,
        dropout: float = 0.0, padding_idx: int = 0, reset_after: bool = True, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if hidden_size % 2:
            raise ValueError(f"Seq2Seq: hidden_size={hidden_size}: expected an even number, maxout takes its pieces in pairs")
        H, E, made = hidden_size, embedding_dim, {"device": device, "dtype": dtype}
        self.padding_idx = padding_idx
        self.source_embedding = nn.Embedding(source_size, E, **made)
        self.target_embedding = nn.Embedding(target_size, E, **made)
        self.encoder = nn.GRU(E, H, batch_first=True, bidirectional=True, reset_after=reset_after, **made)
        self.bridge = nn.Linear(H, H, **made)
        self.attention = nn.AdditiveAttention(H, 2 * H, attention_dim or H, **made)
        self.decoder = nn.GRUCell(E + 2 * H, H, reset_after=reset_after, **made)
        self.readout = nn.Linear(3 * H + E, H, **made)
        self.head = nn.Linear(H // 2, target_size, **made)
        self.dropout = nn.Dropout(dropout)

    def encode(self, source: Any) -> State:
        """What the decoder needs: its first state s_0 (N, H), h (N, S, 2 H), U_a h (N, S, A), and the mask's bias (N, S)."""
        source = tokens_of(self, source, 2)
        there = source.numpy() != self.padding_idx
        lengths = there.sum(1)
        if not (lengths.all() and (there == (np.arange(there.shape[1]) < lengths[:, None])).all()):
            raise ShapeError(
                f"{self._path()}: expected sources of at least one token, and padding {self.padding_idx} only after their end"
            )
        h, last = self.encoder(self.dropout(self.source_embedding(source)), lengths=lengths)
        s = ops.tanh(self.bridge(last[1]))
        return s, h, self.attention.key_proj(h), F.mask_bias(asarray(there, device=source.device), h, blocked=False)

    def step(self, last: Any, state: State) -> tuple[Any, State, Any]:
        """Scores (N, V_t) of the next token after ``last`` (N,), the state with the new s, and the attention weights (N, S)."""
        return self._step(self.dropout(self.target_embedding(last)), state)

    def _step(self, y: Any, state: State) -> tuple[Any, State, Any]:
        s, h, keys, bias = state
        attend = self.attention  # step by step, with U_a h computed once for all steps: appendix A.1.2
        e = attend.energy(ops.tanh(ops.expand_dims(attend.query_proj(s), 1) + keys))[..., 0]
        a = F.masked_softmax(e, bias)
        c = ops.matmul(ops.expand_dims(a, 1), h)[:, 0]
        s = self.decoder(ops.concat([y, c], -1), s)
        t = F.maxout(self.readout(ops.concat([s, y, c], -1)), 2)
        return self.head(self.dropout(t)), (s, h, keys, bias), a

    def forward(self, source: Any, target: Any, need_weights: bool = False) -> Any:
        """Scores (N, T, V_t) of the token after each of the target's, which begins with the start token (teacher forcing).

        Args:
            source: integers (N, S), shorter ones with padding after their end.
            target: integers (N, T).
            need_weights: whether to return the attention weights (N, T, S) as well.

        Raises:
            ShapeError: for a source without tokens, or with padding before its end.
        """
        target = tokens_of(self, target, 2)
        state, logits, weights = self.encode(source), [], []
        for y in ops.unstack(self.dropout(self.target_embedding(target)), 1):
            scores, state, a = self._step(y, state)
            logits.append(scores)
            weights.append(a)
        return (ops.stack(logits, 1), ops.stack(weights, 1)) if need_weights else ops.stack(logits, 1)

    def greedy(self, source: Any, start: int, end: int, max_length: int = 50) -> Tensor:
        """The likeliest token each time, for every source: (N, L), with the end and padding after it, without the start."""
        with evaluating(self):
            state = self.encode(source)
            return greedy(lambda y, s: self.step(y, s)[:2], state, start, end, self.padding_idx, max_length)

    def beam(
        self, source: Any, start: int, end: int, width: int = 10, max_length: int = 50, length_penalty: float = 0.0
    ) -> list[tuple[list[int], float]]:
        """The best targets of one source (S,) and their scores log p / length**length_penalty, best first.

        Raises:
            ValueError: for a width below 1.
        """
        with evaluating(self):
            state = self.encode(tokens_of(self, source, 1)[None])
            return beam_search(lambda y, s: self.step(y, s)[:2], state, start, end, width, max_length, length_penalty)
