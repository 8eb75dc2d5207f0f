"""Classifiers of sequences of vectors, of an image row by row for example: one with a state, one with attention."""

from __future__ import annotations

from typing import Any

from minigrad import nn, ops
from minigrad.errors import ShapeError

KINDS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class RecurrentClassifier(nn.Module):
    """scores = W h_T + b, h_t = cell(x_t, h_(t-1)): what is known after the last of T vectors (N, T, D) as C scores (N, C).

    Args:
        input_size: D.
        num_classes: C.
        hidden_size: the size of h.
        kind: of the cell: ``"rnn"``, ``"lstm"`` or ``"gru"``.
        num_layers: how many layers of cells.
        dropout: the probability to drop an element between layers.

    Attributes:
        rnn: an :class:`minigrad.nn.GRU`, or what ``kind`` says.
        head: an :class:`minigrad.nn.Linear`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import RecurrentClassifier
        >>> RecurrentClassifier(8, 10)(mg.zeros((3, 28, 8))).shape
        (3, 10)
    """

    def __init__(
        self,
        input_size: int,
        num_classes: int,
        hidden_size: int = 64,
        kind: str = "gru",
        num_layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"RecurrentClassifier: kind={kind!r}: expected {', '.join(map(repr, KINDS))}")
        self.rnn = KINDS[kind](input_size, hidden_size, num_layers, batch_first=True, dropout=dropout)
        self.head = nn.Linear(hidden_size, num_classes)

    def forward(self, x: Any) -> Any:
        h, _ = self.rnn(x)
        return self.head(h[:, -1])


class TransformerClassifier(nn.Module):
    """scores = W mean_t norm(encoder(E x + P))_t + b: all T vectors (N, T, D) look at each other, C scores (N, C).

    The encoder is that of Vaswani et al. 2017 with the norm first; means of tokens instead of a token for the class, as in
    Dosovitskiy et al. 2021, appendix D.3.

    Args:
        input_size: D.
        num_classes: C.
        d_model: the size of a token, E x.
        nhead: how many heads an attention has.
        num_layers: of the encoder.
        dim_feedforward: the hidden units of a layer.
        dropout: the probability to drop, in every layer.
        max_len: the largest T.

    Attributes:
        embed: E, an :class:`minigrad.nn.Linear`.
        positions: P, a :class:`minigrad.nn.LearnedPositionalEncoding`.
        encoder: a :class:`minigrad.nn.TransformerEncoder`.
        head: an :class:`minigrad.nn.Linear`.

    Raises:
        ShapeError: if D is not a token's size.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import TransformerClassifier
        >>> TransformerClassifier(8, 10)(mg.zeros((3, 28, 8))).shape
        (3, 10)
    """

    def __init__(
        self, input_size: int, num_classes: int, d_model: int = 32, nhead: int = 4, num_layers: int = 2, dim_feedforward: int = 64,
        dropout: float = 0.0, max_len: int = 64,
    ) -> None:  # fmt: skip
        self.embed = nn.Linear(input_size, d_model)
        self.positions = nn.LearnedPositionalEncoding(d_model, max_len, batch_first=True)
        layer = nn.TransformerEncoderLayer(d_model, nhead, dim_feedforward, dropout, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers, nn.LayerNorm(d_model))
        self.head = nn.Linear(d_model, num_classes)

    def forward(self, x: Any) -> Any:
        if x.ndim != 3:
            raise ShapeError(f"TransformerClassifier: expected (N, T, {self.embed.in_features}), got {tuple(x.shape)}")
        tokens = self.positions(self.embed(x))
        return self.head(ops.mean(self.encoder(tokens), axis=1))
