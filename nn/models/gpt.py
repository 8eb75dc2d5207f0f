"""GPT-2: Radford et al. 2019, "Language models are unsupervised multitask learners", table 2."""

from __future__ import annotations

import math
from typing import Any

from minigrad import nn, ops
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.data import Seed, generator_of
from minigrad.nn.models._decoding import evaluating, sample, tokens_of
from minigrad.nn.module import empty_parameter
from minigrad.tensor import Tensor, asarray


class Conv1D(nn.Module):
    """y = x W + b with W (in, out): a :class:`Linear` whose matrix lies as in GPT-2's files, where it is a convolution of width 1.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models.gpt import Conv1D
        >>> Conv1D(4, 6)(mg.ones((2, 3, 4))).shape
        (2, 3, 6)
    """

    def __init__(
        self, in_features: int, out_features: int, std: float = 0.02, device: str | None = None, dtype: Any = None
    ) -> None:
        self.weight = nn.init.normal_(empty_parameter((in_features, out_features), device, dtype), 0.0, std)
        self.bias = nn.init.zeros_(empty_parameter((out_features,), device, dtype))

    def forward(self, x: Any) -> Any:
        return ops.matmul(x, self.weight) + self.bias

    def multiply_adds(self, output: Any, *inputs: Any) -> int:
        return int(output.size * (self.weight.shape[0] + 1))

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.weight.shape))


class CausalSelfAttention(nn.Module):
    """Multi-head attention of each position to itself and those before it."""

    def __init__(self, n_embd: int, n_head: int, dropout: float, std: float, **made: Any) -> None:
        self.n_head, self.dropout = n_head, dropout
        self.c_attn = Conv1D(n_embd, 3 * n_embd, **made)  # queries, keys and values of all heads
        self.c_proj = Conv1D(n_embd, n_embd, std, **made)
        self.resid_dropout = nn.Dropout(dropout)

    def forward(self, x: Any) -> Any:
        N, T, d = x.shape
        q, k, v = (
            ops.swapaxes(part.reshape((N, T, self.n_head, d // self.n_head)), 1, 2) for part in ops.split(self.c_attn(x), 3, -1)
        )
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0, is_causal=True)
        return self.resid_dropout(self.c_proj(ops.swapaxes(y, 1, 2).reshape((N, T, d))))


class FeedForward(nn.Module):
    """To four times as many units, gelu, and back, for each position alone."""

    def __init__(self, n_embd: int, dropout: float, std: float, **made: Any) -> None:
        self.c_fc = Conv1D(n_embd, 4 * n_embd, **made)
        self.c_proj = Conv1D(4 * n_embd, n_embd, std, **made)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any) -> Any:
        return self.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")))


class Block(nn.Module):
    """x = x + attention(norm(x)), y = x + feed_forward(norm(x))."""

    def __init__(self, n_embd: int, n_head: int, dropout: float, std: float, **made: Any) -> None:
        self.ln_1 = nn.LayerNorm(n_embd, **made)
        self.attn = CausalSelfAttention(n_embd, n_head, dropout, std, **made)
        self.ln_2 = nn.LayerNorm(n_embd, **made)
        self.mlp = FeedForward(n_embd, dropout, std, **made)

    def forward(self, x: Any) -> Any:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Tokens (N, T) to the scores of each next one, (N, T, V): a transformer's decoder alone, which sees only what came before.

    ::

        x = dropout(E[tokens] + P)                  P: learned positions
        x = x + attention(norm(x)),  x = x + W_2 gelu(W_1 norm(x) + b_1) + b_2        n_layer times
        logits = norm(x) E^T

    ===========  =======  ======  ======  ======================================
    network      n_layer  n_embd  n_head  parameters, V = 50,257 and T <= 1,024
    ===========  =======  ======  ======  ======================================
    gpt2         12       768     12      124,439,808
    gpt2_medium  24       1024    16      354,823,168
    gpt2_large   36       1280    20      774,030,080
    gpt2_xl      48       1600    25      1,557,611,200
    ===========  =======  ======  ======  ======================================

    That is V d + block_size d + n_layer (12 d^2 + 13 d) + 2 d. Names and layouts are those of the published weights: ``wte``,
    ``h.0.attn.c_attn.weight``; other programs prepend ``transformer.``, and add masks as ``attn.bias`` that are not needed
    here: ``strict=False`` passes them over. First values are N(0, 0.02^2), those of matrices that add to x divided by
    sqrt(2 n_layer). Notes 001 name GPT-2 ("Recurrent Neural Networks"); the masked attention is notes 000's.

    Args:
        vocab_size: V.
        block_size: the longest T.
        n_layer: how many blocks.
        n_head: how many heads each attention has.
        n_embd: d.
        dropout: the probability to drop, in the attention, after it, after each block's W_2, and of x at first.
        device: where the parameters go.
        dtype: theirs.

    Raises:
        ValueError: if n_embd does not divide into n_head heads.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import GPT
        >>> model = GPT(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=8)
        >>> model(mg.tensor([[3, 1, 4, 1]])).shape
        (1, 4, 11)
        >>> model.generate([3, 1], 10, temperature=0.8, seed=0).shape
        (12,)
    """

    _shown = ("block_size",)

    def __init__(
        self, vocab_size: int = 50257, block_size: int = 1024, n_layer: int = 12, n_head: int = 12, n_embd: int = 768,
        dropout: float = 0.1, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if n_head < 1 or n_embd % n_head:
            raise ValueError(f"GPT: n_embd={n_embd} does not divide into n_head={n_head} heads")
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.block_size, std = block_size, 0.02 / math.sqrt(2 * n_layer)
        self.wte = nn.Embedding(vocab_size, n_embd, **made)
        self.wpe = nn.Embedding(block_size, n_embd, **made)
        self.drop = nn.Dropout(dropout)
        self.h = nn.ModuleList([Block(n_embd, n_head, dropout, std, **made) for _ in range(n_layer)])
        self.ln_f = nn.LayerNorm(n_embd, **made)
        for table in (self.wte, self.wpe):
            nn.init.normal_(table.weight, 0.0, 0.02)

    def forward(self, tokens: Any) -> Any:
        """Scores (N, T, V) of the token after each.

        Raises:
            ShapeError: if there are more than block_size tokens.
        """
        tokens = tokens_of(self, tokens, 2)
        if tokens.shape[1] > self.block_size:
            raise self._refuse(
                f"(N, T) with T <= {self.block_size}", tokens, "Build it with a larger block_size, or cut the text."
            )
        x = self.drop(self.wte(tokens) + self.wpe.weight[: tokens.shape[1]])
        for block in self.h:
            x = block(x)
        return F.linear(self.ln_f(x), self.wte.weight)

    def generate(
        self, prompt: Any, length: int, temperature: float = 1.0, top_k: int | None = None, seed: Seed = None
    ) -> Tensor:
        """The prompt and ``length`` tokens after it, each drawn from softmax(logits / temperature) of the last block_size tokens.

        Args:
            prompt: integers (N, T), or (T,).
            length: how many to write; each reads all that it sees again.
            temperature: 0 for the likeliest each time, below 1 for safer choices, above 1 for bolder ones.
            top_k: draw among the k likeliest only.
            seed: of the draws, or a generator; by default the generator that ``mg.manual_seed`` sets.

        Raises:
            ValueError: for a negative temperature.
        """
        rng, tokens = generator_of(seed), tokens_of(self, prompt, 1, 2)
        text = tokens if tokens.ndim == 2 else tokens[None]
        with evaluating(self):
            for _ in range(length):
                scores = self(text[:, -self.block_size :])[:, -1]
                last = asarray(sample(scores, temperature, rng, top_k)[:, None], device=text.device)
                text = ops.concat([text, last], 1)
            return text if tokens.ndim == 2 else text[0]


def gpt2(**options: Any) -> GPT:
    """12 blocks of 768."""
    return GPT(n_layer=12, n_head=12, n_embd=768, **options)


def gpt2_medium(**options: Any) -> GPT:
    """24 blocks of 1024."""
    return GPT(n_layer=24, n_head=16, n_embd=1024, **options)


def gpt2_large(**options: Any) -> GPT:
    """36 blocks of 1280."""
    return GPT(n_layer=36, n_head=20, n_embd=1280, **options)


def gpt2_xl(**options: Any) -> GPT:
    """48 blocks of 1600."""
    return GPT(n_layer=48, n_head=25, n_embd=1600, **options)
