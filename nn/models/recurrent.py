"""Recurrent language models: Mikolov et al. 2010; Sutskever, Martens & Hinton 2011, which read and write letter by letter."""

from __future__ import annotations

from typing import Any

from minigrad import nn, ops
from minigrad.nn.data import Seed, generator_of
from minigrad.nn.models._decoding import evaluating, sample, tokens_of
from minigrad.tensor import Tensor, asarray

KINDS: dict[str, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class CharRNN(nn.Module):
    """p(x_(t+1) | x_1 .. x_t) = softmax(W h_t + b), h_t = cell(x_t, h_(t-1)): reads letters (N, T), scores each next one (N, T, V).

    =========  ==================================================================  ==========================================
    layer      what                                                                parameters
    =========  ==================================================================  ==========================================
    embedding  a vector of E numbers for each of V letters; E = V without, one-hot  V E, or none
    rnn        g gates of H units: g = 1 (rnn), 3 (gru), 4 (lstm)                   g H (E + H + 2), above it g H (2 H + 2) each
    head       affine                                                              H V + V
    =========  ==================================================================  ==========================================

    Notes 001, "Recurrent Neural Networks": what a letter is followed by depends on the letters before it, and h is what is kept
    of them. Long texts are learned with truncated backpropagation through time: hand the state of one piece of text, without its
    history (:func:`minigrad.nn.detach_state`), to the next.

    Args:
        vocab_size: V, how many different letters, or other tokens.
        hidden_size: H.
        num_layers: how many recurrent layers.
        kind: ``"gru"``, ``"lstm"`` or ``"rnn"``.
        embedding_dim: E, or None for one-hot vectors: then W_ih is the table.
        dropout: the probability to drop a unit between layers and before the head, while training.
        device: where the parameters go.
        dtype: theirs.

    Raises:
        ValueError: for another kind.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import CharRNN
        >>> model = CharRNN(vocab_size=5, hidden_size=8)
        >>> logits, state = model(mg.tensor([[0, 3, 1, 2]]))
        >>> logits.shape, state.shape
        ((1, 4, 5), (1, 1, 8))
        >>> model.generate([0, 3], 6, seed=0).shape  # what was given, and 6 more
        (8,)
    """

    _shown = ("kind",)

    def __init__(
        self, vocab_size: int, hidden_size: int, num_layers: int = 1, kind: str = "gru", embedding_dim: int | None = None,
        dropout: float = 0.0, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if kind not in KINDS:
            raise ValueError(f"CharRNN: kind={kind!r}: expected {', '.join(map(repr, KINDS))}")
        self.vocab_size, self.kind = vocab_size, kind
        self.embedding = None if embedding_dim is None else nn.Embedding(vocab_size, embedding_dim, device=device, dtype=dtype)
        self.rnn = KINDS[kind](
            embedding_dim or vocab_size, hidden_size, num_layers, batch_first=True, dropout=dropout if num_layers > 1 else 0.0,
            device=device, dtype=dtype,
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, vocab_size, device=device, dtype=dtype)

    def forward(self, tokens: Any, state: Any = None) -> tuple[Any, Any]:
        """Scores of the next token after each, and the state after the last.

        Args:
            tokens: integers (N, T), or (T,).
            state: as it was returned, to read on where the last piece ended; None at the beginning.
        """
        tokens = tokens_of(self, tokens, 1, 2)
        x = ops.one_hot(tokens, self.vocab_size, self.head.weight.dtype) if self.embedding is None else self.embedding(tokens)
        output, state = self.rnn(x, state)
        return self.head(self.dropout(output)), state

    def generate(
        self, prompt: Any, length: int, temperature: float = 1.0, top_k: int | None = None, seed: Seed = None
    ) -> Tensor:
        """The prompt and ``length`` tokens after it, each drawn from softmax(logits / temperature) and read in its turn.

        Args:
            prompt: integers (N, T), or (T,).
            length: how many to write.
            temperature: 0 for the likeliest each time, below 1 for safer choices, above 1 for bolder ones.
            top_k: draw among the k likeliest only.
            seed: of the draws, or a generator; by default the generator that ``mg.manual_seed`` sets.

        Raises:
            ValueError: for a negative temperature.
        """
        rng, last, state = generator_of(seed), tokens_of(self, prompt, 1, 2), None
        written = [last]
        with evaluating(self):
            for _ in range(length):
                logits, state = self(last, state)
                last = asarray(sample(logits[..., -1, :], temperature, rng, top_k)[..., None], device=last.device)
                written.append(last)
            return ops.concat(written, -1)  # type: ignore[no-any-return]
