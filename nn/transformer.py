"""The transformer (Vaswani et al. 2017): layers that attend and then transform each position, stacks of them, and both stacks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from minigrad import creation
from minigrad.errors import ShapeError
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import init
from minigrad.nn.attention import MultiheadAttention
from minigrad.nn.container import ModuleList
from minigrad.nn.dropout import Dropout
from minigrad.nn.linear import Linear
from minigrad.nn.module import Module
from minigrad.nn.normalization import LayerNorm
from minigrad.tensor import Tensor

Activation = str | Callable[[Any], Any]


class _Layer(Module):
    """What encoder and decoder layers share: residual blocks, of which the last transforms each position alone."""

    _attentions: tuple[str, ...]

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True,
        device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if isinstance(activation, str) and activation not in ("relu", "gelu"):
            raise ValueError(f"{type(self).__name__}: activation={activation!r}: expected 'relu', 'gelu' or a callable")
        for name in self._attentions:
            attention = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype)
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, device, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device, dtype)
        self.norm_first = norm_first
        blocks = range(1, len(self._attentions) + 2)
        for i in blocks:
            setattr(self, f"norm{i}", LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype))
        for i in blocks:
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = getattr(F, activation) if isinstance(activation, str) else activation

    def _residual(self, x: Any, norm: LayerNorm, dropout: Dropout, block: Callable[[Any], Any]) -> Any:
        return x + dropout(block(norm(x))) if self.norm_first else norm(x + dropout(block(x)))

    def _feed_forward(self, x: Any) -> Any:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """x = norm1(x + attention(x, x, x)), y = norm2(x + W_2 f(W_1 x + b_1) + b_2): Vaswani et al. 2017, section 3.1.

    That is post-norm. With ``norm_first``, x = x + attention(norm1(x)), y = x + feed_forward(norm2(x)): pre-norm, which trains
    without warm-up (Xiong et al. 2020). Shapes: (L, N, E) to (L, N, E), (N, L, E) with ``batch_first``, or (L, E).

    Args:
        d_model: E.
        nhead: how many heads the attention has.
        dim_feedforward: the rows of W_1.
        dropout: the probability to drop, in the attention, after f, and at the end of each of the two blocks.
        activation: f: ``"relu"``, ``"gelu"``, a function, or a module.
        layer_norm_eps: eps of the norms.
        batch_first: whether shapes are (N, L, E).
        norm_first: pre-norm.
        bias: whether attention, linear maps and norms have one.
        device: where the parameters go.
        dtype: theirs.

    Attributes:
        self_attn: a :class:`MultiheadAttention`.
        linear1: W_1 and b_1.
        linear2: W_2 and b_2.
        norm1: a :class:`LayerNorm`, as norm2.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.TransformerEncoderLayer(8, nhead=2)(mg.ones((5, 3, 8))).shape
        (5, 3, 8)
    """

    _attentions = ("self_attn",)
    self_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    dropout1: Dropout
    dropout2: Dropout

    def forward(self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        """Masks as for :class:`MultiheadAttention`."""

        def attend(x: Any) -> Any:
            return self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0]

        x = self._residual(src, self.norm1, self.dropout1, attend)
        return self._residual(x, self.norm2, self.dropout2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """x = norm1(x + attention(x, x, x)), x = norm2(x + attention(x, m, m)), y = norm3(x + W_2 f(W_1 x + b_1) + b_2).

    x is what is being written, m (the memory) what the encoder has read: Vaswani et al. 2017, section 3.1. With ``norm_first``
    each block is x + block(norm(x)). Shapes: x (T, N, E) and m (S, N, E) to (T, N, E), or as ``batch_first`` says.
    Arguments as for :class:`TransformerEncoderLayer`.

    Attributes:
        self_attn: a :class:`MultiheadAttention` of x to itself.
        multihead_attn: another, of x to m.
        linear1: W_1 and b_1.
        linear2: W_2 and b_2.
        norm1: a :class:`LayerNorm`, as norm2 and norm3.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> layer = nn.TransformerDecoderLayer(8, nhead=2)
        >>> layer(mg.ones((4, 3, 8)), mg.ones((5, 3, 8)), tgt_is_causal=True).shape
        (4, 3, 8)
    """

    _attentions = ("self_attn", "multihead_attn")
    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    norm3: LayerNorm
    dropout1: Dropout
    dropout2: Dropout
    dropout3: Dropout

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None, tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None, tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Any:  # fmt: skip
        """Masks as for :class:`MultiheadAttention`: ``tgt_`` ones of x to x, ``memory_`` ones of x to m."""

        def attend(x: Any) -> Any:
            return self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)[0]

        def read(x: Any) -> Any:
            return self.multihead_attn(
                x, memory, memory, memory_key_padding_mask, False, memory_mask, is_causal=memory_is_causal
            )[0]

        x = self._residual(tgt, self.norm1, self.dropout1, attend)
        x = self._residual(x, self.norm2, self.dropout2, read)
        return self._residual(x, self.norm3, self.dropout3, self._feed_forward)


class _Stack(Module):
    def _build(self, layer: Module, num_layers: int, norm: Module | None) -> None:
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(num_layers)])
        self.num_layers, self.norm = num_layers, norm

    def _through(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        for layer in self.layers:
            x = layer(x, *args, **kwargs)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """y = norm(layer_n(... layer_1(x))): a stack of copies of one layer, which all start with its values.

    Args:
        encoder_layer: a :class:`TransformerEncoderLayer`; only its copies belong to the stack.
        num_layers: n.
        norm: what comes last, or None; pre-norm layers need a :class:`LayerNorm` here.
        enable_nested_tensor: accepted, changes nothing. (PyTorch's fast path writes 0 at positions of padding.)
        mask_check: accepted, changes nothing.

    Attributes:
        layers: a :class:`ModuleList`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.TransformerEncoder(nn.TransformerEncoderLayer(8, nhead=2), num_layers=2)(mg.ones((5, 3, 8))).shape
        (5, 3, 8)
    """

    def __init__(
        self, encoder_layer: Module, num_layers: int, norm: Module | None = None, enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:  # fmt: skip
        self._build(encoder_layer, num_layers, norm)

    def forward(self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool | None = None) -> Any:
        """Masks as for :class:`MultiheadAttention`, in every layer."""
        return self._through(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal))


class TransformerDecoder(_Stack):
    """y = norm(layer_n(... layer_1(x, m), m)): a stack of copies of one layer, which all start with its values.

    Args:
        decoder_layer: a :class:`TransformerDecoderLayer`; only its copies belong to the stack.
        num_layers: n.
        norm: what comes last, or None.

    Attributes:
        layers: a :class:`ModuleList`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, nhead=2), num_layers=2)
        >>> decoder(mg.ones((4, 3, 8)), mg.ones((5, 3, 8))).shape
        (4, 3, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        self._build(decoder_layer, num_layers, norm)

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None, tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None, tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Any:  # fmt: skip
        """Masks as for :class:`MultiheadAttention`, in every layer."""
        return self._through(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=bool(tgt_is_causal), memory_is_causal=memory_is_causal,
        )  # fmt: skip


class Transformer(Module):
    """y = decoder(tgt, encoder(src)): vectors of what is read and of what is written so far, to vectors of what comes next.

    Vaswani et al. 2017. Embeddings and positions come before it and a Linear to the vocabulary after it. Shapes: src (S, N, E)
    and tgt (T, N, E) to (T, N, E), batches first with ``batch_first``, or without N.

    Args:
        d_model: E.
        nhead: how many heads each attention has.
        num_encoder_layers: how many the encoder has.
        num_decoder_layers: how many the decoder has.
        dim_feedforward: as for :class:`TransformerEncoderLayer`, as are the next.
        dropout: the probability to drop.
        activation: ``"relu"``, ``"gelu"``, a function, or a module.
        custom_encoder: takes the encoder's place.
        custom_decoder: takes the decoder's place.
        layer_norm_eps: eps of the norms.
        batch_first: whether shapes are (N, S, E) and (N, T, E).
        norm_first: pre-norm.
        bias: whether attentions, linear maps and norms have one.
        device: where the parameters go.
        dtype: theirs; all matrices are Xavier uniform at first.

    Attributes:
        encoder: a :class:`TransformerEncoder` that ends with a norm.
        decoder: a :class:`TransformerDecoder` that ends with a norm.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> model = nn.Transformer(8, nhead=2, num_encoder_layers=1, num_decoder_layers=1, dim_feedforward=16)
        >>> model(mg.ones((5, 3, 8)), mg.ones((4, 3, 8)), tgt_is_causal=True).shape
        (4, 3, 8)
    """

    encoder: Any
    decoder: Any

    def __init__(
        self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6,
        dim_feedforward: int = 2048, dropout: float = 0.1, activation: Activation = F.relu, custom_encoder: Any = None,
        custom_decoder: Any = None, layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False,
        bias: bool = True, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        options = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device, dtype,
        )  # fmt: skip

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)

        self.encoder = (
            TransformerEncoder(TransformerEncoderLayer(*options), num_encoder_layers, norm())
            if custom_encoder is None else custom_encoder
        )  # fmt: skip
        self.decoder = (
            TransformerDecoder(TransformerDecoderLayer(*options), num_decoder_layers, norm())
            if custom_decoder is None else custom_decoder
        )  # fmt: skip
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier uniform values for every matrix."""
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p)

    def forward(
        self, src: Any, tgt: Any, src_mask: Any = None, tgt_mask: Any = None, memory_mask: Any = None,
        src_key_padding_mask: Any = None, tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None, tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Any:  # fmt: skip
        """Masks as for :class:`MultiheadAttention`: of src to src, tgt to tgt, and tgt to the encoder's output.

        To learn to write, ``tgt_is_causal=True``. Where src has padding, ``memory_key_padding_mask`` is mostly the same mask.

        Raises:
            ShapeError: if shapes do not fit each other or the module.
        """
        batch = 0 if self.batch_first else 1
        if src.ndim != tgt.ndim or {src.shape[-1], tgt.shape[-1]} != {self.d_model} or (
            src.ndim == 3 and src.shape[batch] != tgt.shape[batch]
        ):  # fmt: skip
            raise ShapeError(
                f"{self._path()}: src and tgt have shapes {tuple(src.shape)} and {tuple(tgt.shape)}: expected d_model={self.d_model} "
                f"in the last axis and one batch size in axis {batch} (batch_first={self.batch_first})"
            )
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal, memory_is_causal=memory_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: str | None = None, dtype: Any = None) -> Tensor:
        """(sz, sz), 0 up to the diagonal and -inf above: position i sees only 0 to i.

        Example:
            >>> from minigrad import nn
            >>> nn.Transformer.generate_square_subsequent_mask(2).tolist()
            [[0.0, -inf], [0.0, 0.0]]
        """
        return F.causal_bias(sz, sz, creation.zeros(0, dtype, device))  # type: ignore[no-any-return]
