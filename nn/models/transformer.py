"""The transformer as a translator: Vaswani et al. 2017, "Attention is all you need", table 3."""

from __future__ import annotations

import math
from typing import Any

from minigrad import nn, ops
from minigrad.creation import zeros
from minigrad.nn.models._decoding import State, beam_search, evaluating, greedy, tokens_of
from minigrad.tensor import Tensor


class Seq2SeqTransformer(nn.Module):
    """Reads a source (N, S) at once and scores, from it and the target (N, T) so far, each next token: (N, T, V_t).

    ::

        x = dropout(sqrt(d) E_s[source] + P),  y = dropout(sqrt(d) E_t[target] + P)     P: sinusoidal positions
        logits = decoder(y, encoder(x)) W^T,  W = E_t if tied

    =====  ======  ====  ====  =====  ==========================================================
    model  layers  d     d_ff  heads  parameters with one tied vocabulary of 37,000
    =====  ======  ====  ====  =====  ==========================================================
    base   6       512   2048  8      63,084,544 (the paper: 65 million)
    big    6       1024  4096  16     214,249,472 (213 million)
    =====  ======  ====  ====  =====  ==========================================================

    Each encoder layer has 4 d (d + 1) + d_ff (2 d + 1) + d + 4 d parameters, each decoder layer 4 d (d + 1) + 2 d more; each
    stack ends with a norm, as :class:`minigrad.nn.Transformer` does. Notes 000, "Transformers".

    Args:
        source_size: V_s, how many tokens the source's language has.
        target_size: V_t; None for one vocabulary, and one table of embeddings, for both.
        d_model: d.
        nhead: how many heads each attention has.
        num_layers: of the encoder, and of the decoder.
        dim_feedforward: d_ff.
        dropout: the probability to drop.
        tied: whether the last matrix is the target's table (section 3.4 of the paper), or a :class:`Linear` of its own.
        norm_first: pre-norm, which learns without warm-up.
        padding_idx: the token after the end of shorter sources; it has no influence.
        max_len: how many positions P has.
        device: where the parameters go.
        dtype: theirs.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import Seq2SeqTransformer
        >>> model = Seq2SeqTransformer(9, 7, d_model=8, nhead=2, num_layers=1, dim_feedforward=16)
        >>> source = mg.tensor([[3, 5, 8, 2], [4, 2, 0, 0]])  # 0 is padding
        >>> model(source, mg.tensor([[1, 5, 3], [1, 6, 2]])).shape
        (2, 3, 7)
        >>> model.greedy(source, start=1, end=2, max_length=5).shape[0]
        2
    """

    _shown = ("d_model", "padding_idx")

    def __init__(
        self, source_size: int, target_size: int | None = None, d_model: int = 512, nhead: int = 8, num_layers: int = 6,
        dim_feedforward: int = 2048, dropout: float = 0.1, tied: bool = True, norm_first: bool = False, padding_idx: int = 0,
        max_len: int = 5000, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.d_model, self.padding_idx = d_model, padding_idx
        self.source_embedding = nn.Embedding(source_size, d_model, **made)
        self.target_embedding = self.source_embedding if target_size is None else nn.Embedding(target_size, d_model, **made)
        self.positions = nn.SinusoidalPositionalEncoding(d_model, max_len, dropout, batch_first=True, **made)
        self.transformer = nn.Transformer(
            d_model, nhead, num_layers, num_layers, dim_feedforward, dropout, batch_first=True, norm_first=norm_first, **made
        )
        for table in (self.source_embedding, self.target_embedding):
            nn.init.normal_(table.weight, 0.0, d_model**-0.5)  # sqrt(d) in front of it makes the variance 1
        self.head = nn.Linear(d_model, target_size or source_size, bias=not tied, **made)
        if tied:
            self.head.weight = self.target_embedding.weight

    def _embed(self, table: nn.Embedding, tokens: Tensor) -> Any:
        return self.positions(math.sqrt(self.d_model) * table(tokens))

    def encode(self, source: Any) -> State:
        """What was read, (N, S, d), and where it is padding, (N, S)."""
        source = tokens_of(self, source, 2)
        padding = source == self.padding_idx
        x = self._embed(self.source_embedding, source)
        return self.transformer.encoder(x, src_key_padding_mask=padding), padding

    def decode(self, target: Any, memory: Any, padding: Any) -> Any:
        """Scores (N, T, V_t) of the token after each of the target's, which begins with the start token.

        Padding after a target's end needs no mask: nothing before it sees it.
        """
        y = self._embed(self.target_embedding, tokens_of(self, target, 2))
        return self.head(self.transformer.decoder(y, memory, tgt_is_causal=True, memory_key_padding_mask=padding))

    def forward(self, source: Any, target: Any) -> Any:
        """:meth:`decode` of what :meth:`encode` read: in training, of all positions at once."""
        return self.decode(target, *self.encode(source))

    def _begin(self, source: Any) -> State:
        """What is known before the first step: what was read, and that nothing is written."""
        memory, padding = self.encode(source)
        return memory, padding, zeros((len(memory), 0), dtype="int64", device=memory.device)

    def _step(self, last: Any, state: State) -> tuple[Any, State]:
        """The whole prefix again: a step costs as much as the steps before it together."""
        memory, padding, prefix = state
        prefix = ops.concat([prefix, ops.expand_dims(last, 1)], 1)
        return self.decode(prefix, memory, padding)[:, -1], (memory, padding, prefix)

    def greedy(self, source: Any, start: int, end: int, max_length: int = 50) -> Tensor:
        """The likeliest token each time, for every source: (N, L), with the end and padding after it, without the start."""
        with evaluating(self):
            return greedy(self._step, self._begin(source), start, end, self.padding_idx, max_length)

    def beam(
        self, source: Any, start: int, end: int, width: int = 4, max_length: int = 50, length_penalty: float = 0.6
    ) -> list[tuple[list[int], float]]:
        """The best targets of one source (S,) and their scores log p / length**length_penalty, best first.

        Raises:
            ValueError: for a width below 1.
        """
        with evaluating(self):
            state = self._begin(tokens_of(self, source, 1)[None])
            return beam_search(self._step, state, start, end, width, max_length, length_penalty)


def attention_maps(model: nn.Module, *inputs: Any) -> dict[str, Any]:
    """The weights (N, H, L, S) that each head of each :class:`minigrad.nn.MultiheadAttention` in a model gives, by its path.

    The model runs once, in evaluation and without a graph; layers ask their attentions for no weights, so for this run each is
    asked, and listened to.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import Seq2SeqTransformer, attention_maps
        >>> model = Seq2SeqTransformer(9, d_model=8, nhead=2, num_layers=1, dim_feedforward=16)
        >>> for path, weights in attention_maps(model, mg.tensor([[3, 5, 8, 2]]), mg.tensor([[1, 5, 3]])).items():
        ...     print(path, weights.shape)
        transformer.encoder.layers.0.self_attn (1, 2, 4, 4)
        transformer.decoder.layers.0.self_attn (1, 2, 3, 3)
        transformer.decoder.layers.0.multihead_attn (1, 2, 3, 4)
    """
    maps: dict[str, Any] = {}
    hooks = []

    def ask(module: nn.Module, args: Any) -> Any:
        return (*args[:4], True, *args[5:6], False)  # need_weights=True, attn_mask, average_attn_weights=False

    for path, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):

            def keep(module: nn.Module, args: Any, output: Any, path: str = path) -> None:
                maps[path] = output[1]

            hooks += [module.register_forward_pre_hook(ask), module.register_forward_hook(keep)]
    try:
        with evaluating(model):
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return maps
