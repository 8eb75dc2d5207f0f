"""Embedding: a table whose rows are learned."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from minigrad.errors import BadIndexError, ShapeError
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import init
from minigrad.nn.module import Module, Parameter, empty_parameter


class Embedding(Module):
    """y[...] = W[x[...]]: integers (...) to vectors (..., embedding_dim), the rows of a table.

    Args:
        num_embeddings: how many rows, such as words.
        embedding_dim: their length.
        padding_idx: the row that stands for padding: zero at first, and without gradient.
        max_norm: rows that are looked up and longer than this are shortened to it.
        norm_type: p of that norm.
        scale_grad_by_freq: divide a row's gradient by how often it was looked up in the batch.
        sparse: gradients are dense here, so only False.
        device: where the table goes.
        dtype: its dtype.

    Attributes:
        weight: (num_embeddings, embedding_dim), at first N(0, 1).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Embedding(10, 3)(mg.tensor([[1, 2], [4, 3]])).shape
        (2, 2, 3)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False, _weight: Any = None,
        _freeze: bool = False, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise BadIndexError(f"Embedding: padding_idx {padding_idx} is not one of its {num_embeddings} rows")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        if _weight is None:
            self.weight = empty_parameter((num_embeddings, embedding_dim), device, dtype)
            self.reset_parameters()
        else:
            self.weight = Parameter(_weight)
            if self.weight.shape != (num_embeddings, embedding_dim):
                raise ShapeError(
                    f"Embedding: expected rows of shape {(num_embeddings, embedding_dim)}, got {self.weight.shape}"
                )
        self.weight.requires_grad = not _freeze

    def reset_parameters(self) -> None:
        """Draw the first values again."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight._data[self.padding_idx] = 0

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, **options: Any) -> Self:
        """A table with given rows, not learned unless ``freeze`` is False. ``options`` as for the class."""
        rows, length = np.shape(embeddings)
        return cls(rows, length, _weight=embeddings, _freeze=freeze, **options)

    def forward(self, input: Any) -> Any:
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    def extra_repr(self) -> str:
        shown = {"padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False}
        rest = [f"{name}={getattr(self, name)}" for name, default in shown.items() if getattr(self, name) != default]
        return ", ".join([str(self.num_embeddings), str(self.embedding_dim), *rest])


class EmbeddingBag(Embedding):
    """Sums, means or maxima of rows of a table, one per bag: (B, N) integers, or (M,) with offsets, to (B, embedding_dim).

    Args:
        num_embeddings: how many rows.
        embedding_dim: their length.
        max_norm: rows that are looked up and longer than this are shortened to it.
        norm_type: p of that norm.
        scale_grad_by_freq: divide a row's gradient by how often it was looked up in the batch.
        mode: ``"sum"``, ``"mean"`` or ``"max"``; an empty bag gives zeros.
        sparse: gradients are dense here, so only False.
        include_last_offset: whether the last offset only says where the last bag ends.
        padding_idx: a row that is passed over, zero at first.
        device: where the table goes.
        dtype: its dtype.

    Attributes:
        weight: (num_embeddings, embedding_dim), at first N(0, 1).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.EmbeddingBag(10, 3)(mg.tensor([1, 2, 4, 3]), mg.tensor([0, 3])).shape
        (2, 3)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, _weight: Any = None,
        include_last_offset: bool = False, padding_idx: int | None = None, device: str | None = None, dtype: Any = None,
        *, _freeze: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight, _freeze, device,
            dtype,
        )  # fmt: skip
        self.mode, self.include_last_offset = mode, include_last_offset

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        return F.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode, self.sparse,
            per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, mode={self.mode!r}"
