"""Word vectors: CBOW and skip-gram, Mikolov et al. 2013 (notes 003, week 9).

Words are numbers 0 ... V-1 (``words, text = np.unique(tokens, return_inverse=True)`` makes them). Each has two vectors: v as
the word that is given, u as the word that is asked for, with score u . h. What is given:

========  ============================================  ==============================
model     given, h                                      asked for
========  ============================================  ==============================
CBOW      the mean of v over the words around           the word in the middle
SkipGram  v of the word in the middle                   a word around it
========  ============================================  ==============================

and the loss is either -log softmax(u . h), over all V words, or with k negative samples (which costs k + 1 scores, not V)

    -log s(u_o . h) - sum over the k drawn words of log s(-u . h),

whose minimum has u_c . v_w = PMI(w, c) - log k, where negatives are drawn as the contexts are: Levy & Goldberg 2014.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import nn, ops
from minigrad.errors import ShapeError
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import init
from minigrad.random import default_generator
from minigrad.tensor import asarray

Array = np.ndarray[Any, Any]


class _WordVectors(nn.Module):
    """The two tables, and what both models do with a vector h."""

    def __init__(self, num_words: int, dim: int, device: str | None = None, dtype: Any = None) -> None:
        self.given = nn.Embedding(num_words, dim, device=device, dtype=dtype)
        self.asked = nn.Embedding(num_words, dim, device=device, dtype=dtype)
        init.uniform_(self.given.weight, -0.5 / dim, 0.5 / dim)
        init.zeros_(self.asked.weight)

    def hidden(self, given: Any) -> Any:
        """The vector h of the given words: (N, dim)."""
        raise NotImplementedError

    def forward(self, given: Any) -> Any:
        """The scores of all words, (N, V)."""
        return F.linear(self.hidden(given), self.asked.weight)

    def loss(self, given: Any, asked: Any, negatives: Any = None) -> Any:
        """The mean over N examples.

        Args:
            given: word numbers as :meth:`hidden` takes them.
            asked: word numbers, (N,).
            negatives: (N, k), from :func:`negative_samples`; None for the softmax over all words.

        Raises:
            ShapeError: if there are not as many of each.
        """
        if negatives is None:
            return F.cross_entropy(self(given), asked)
        asked, negatives, h = asarray(asked), asarray(negatives), self.hidden(given)
        if negatives.ndim != 2 or not len(h) == len(asked) == len(negatives):
            raise ShapeError(
                f"{type(self).__name__}.loss: {len(h)} examples, asked has shape {asked.shape}, negatives {negatives.shape}: expected "
                f"({len(h)},) and ({len(h)}, k)"
            )
        right = ops.sum(self.asked(asked) * h, -1)
        wrong = ops.vecdot(self.asked(negatives), ops.expand_dims(h, axis=1))
        return ops.mean(ops.softplus(-right) + ops.sum(ops.softplus(wrong), -1))

    def nearest(self, word: int, n: int = 5) -> list[tuple[int, float]]:
        """The n words whose vectors make the least angle with that of ``word``, and the cosines, largest first."""
        v = self.given.weight.numpy()
        v = v / np.linalg.norm(v, axis=1, keepdims=True)
        cosine = v @ v[word]
        order = [int(i) for i in np.argsort(-cosine, kind="stable") if i != word]
        return [(i, float(cosine[i])) for i in order[:n]]


class SkipGram(_WordVectors):
    """From a word, the words around it.

    Args:
        num_words: V.
        dim: the length of a vector.
        device: where the tables go.
        dtype: theirs.

    Attributes:
        given: an Embedding whose weight is v, (V, dim), at first within 0.5 / dim of 0: the word vectors.
        asked: one whose weight is u, (V, dim), at first 0.

    Example:
        >>> import numpy as np
        >>> from minigrad.nn.models import SkipGram, skip_gram_pairs
        >>> words, text = np.unique("the cat sat on the mat".split(), return_inverse=True)
        >>> model = SkipGram(len(words), dim=3)
        >>> centre, around = skip_gram_pairs(text, window=2)
        >>> round(model.loss(centre, around).item(), 4)  # log 5: it knows nothing yet
        1.6094
    """

    def hidden(self, given: Any) -> Any:
        """The vectors v of the words (N,)."""
        return self.given(given)


class CBOW(_WordVectors):
    """From the words around, the one in the middle: a "continuous bag of words", as their order does not count.

    Args and attributes are those of :class:`SkipGram`.

    Example:
        >>> import numpy as np
        >>> from minigrad.nn.models import CBOW, cbow_windows
        >>> words, text = np.unique("the cat sat on the mat".split(), return_inverse=True)
        >>> model = CBOW(len(words), dim=3)
        >>> around, centre = cbow_windows(text, window=2)
        >>> round(model.loss(around, centre).item(), 4)
        1.6094
    """

    def hidden(self, given: Any) -> Any:
        """The mean of v over the words (N, C) that are there: -1 stands for none."""
        given = asarray(given)
        there = given >= 0
        vectors = self.given(ops.where(there, given, 0))
        share = ops.astype(there, vectors.dtype)
        share = share / ops.clip(ops.sum(share, -1, keepdims=True), 1)
        return ops.sum(vectors * ops.expand_dims(share, axis=-1), 1)


# ---- what they learn from ------------------------------------------------------------------------------------------------


def skip_gram_pairs(text: Any, window: int) -> tuple[Array, Array]:
    """Every word with every one at most ``window`` places away: (centre, around), both (N,).

    Example:
        >>> from minigrad.nn.models import skip_gram_pairs
        >>> [pair.tolist() for pair in skip_gram_pairs([7, 8, 9], window=1)]
        [[7, 8, 8, 9], [8, 7, 9, 8]]
    """
    around, centre = cbow_windows(text, window)
    there = around >= 0
    return np.repeat(centre, there.sum(1)), around[there]


def cbow_windows(text: Any, window: int) -> tuple[Array, Array]:
    """For every word, those at most ``window`` places away: (around, centre), (N, 2 window) and (N,); -1 beyond the ends.

    Example:
        >>> from minigrad.nn.models import cbow_windows
        >>> [part.tolist() for part in cbow_windows([7, 8, 9], window=1)]
        [[[-1, 8], [7, 9], [8, -1]], [7, 8, 9]]
    """
    if window < 1:
        raise ValueError(f"window={window}: expected 1 or more words to each side")
    centre = np.asarray(text)
    if centre.ndim != 1 or centre.dtype.kind not in "iu":
        raise ShapeError(
            f"text has shape {centre.shape} and dtype {centre.dtype}: expected word numbers (N,), as from "
            f"np.unique(tokens, return_inverse=True)"
        )
    padded = np.pad(centre, window, constant_values=-1)
    views = np.lib.stride_tricks.sliding_window_view(padded, 2 * window + 1)
    return np.delete(views, window, axis=1), centre


def negative_samples(
    counts: Any, shape: int | tuple[int, ...], power: float = 0.75, generator: np.random.Generator | None = None
) -> Array:
    """Word numbers drawn with p(w) ~ counts[w]**power: 3/4 is Mikolov's, between their frequencies (1) and equal chances (0).

    Args:
        counts: how often each word is in the text: ``np.bincount(text)``.
        shape: (N, k), for instance.
        power: see above.
        generator: of the draws; by default the one that ``mg.manual_seed`` sets.

    Example:
        >>> from minigrad.nn.models import negative_samples
        >>> negative_samples([5, 0, 1], (2, 3)).shape
        (2, 3)
    """
    weight = np.asarray(counts, float) ** power
    edges = np.cumsum(weight / weight.sum())
    drawn: Array = np.searchsorted(edges, (generator or default_generator()).random(shape) * edges[-1], side="right")
    return drawn


def pointwise_mutual_information(centre: Any, around: Any, num_words: int) -> Array:
    """``PMI(w, c) = log p(c|w) / p(c) = log count(w, c) N / (count(w) count(c))`` over pairs (notes 003), (V, V).

    -inf for words that never meet, nan for one that is not there.

    Example:
        >>> from minigrad.nn.models import pointwise_mutual_information
        >>> pointwise_mutual_information([0, 1], [1, 0], 2).round(4).tolist()
        [[-inf, 0.6931], [0.6931, -inf]]
    """
    count = np.zeros((num_words, num_words))
    np.add.at(count, (np.asarray(centre), np.asarray(around)), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        pmi: Array = np.log(count * count.sum() / (count.sum(1, keepdims=True) * count.sum(0)))
    return pmi
