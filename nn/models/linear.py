"""Models of one layer, and of several: perceptron, linear, logistic and softmax regression, linear SVM, MLP (notes 001).

The first five are all ``x W^T + b``. What makes them different is what they minimise: the table is their ``loss``.

==================  ======================================  =============================  ===========================
model               loss of an example                      gradient of the score s        label y
==================  ======================================  =============================  ===========================
Perceptron          max(0, -y s)                            -y if it is on the wrong side  -1 or 1
LinearRegression    1/2 (s - y)**2                          s - y                          numbers
LogisticRegression  -log sigmoid(s) or -log(1 - sigmoid(s)) sigmoid(s) - y                 0 or 1
SoftmaxRegression   -log softmax(s)_y                       softmax(s) - onehot(y)         a class from 0 to C - 1
LinearSVM           sum over j != y of max(0, s_j - s_y + 1) how many margins y misses      a class from 0 to C - 1
==================  ======================================  =============================  ===========================
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from minigrad import nn, ops
from minigrad.errors import ShapeError
from minigrad.nn import functional as F  # noqa: N812
from minigrad.tensor import asarray


class _OneScore(nn.Linear):
    """One score for each example: (N, D) to (N, 1)."""

    def __init__(self, in_features: int, bias: bool = True, device: str | None = None, dtype: Any = None) -> None:
        super().__init__(in_features, 1, bias, device, dtype)

    def _scores(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Scores and labels, both (N,): (N, 1) with (N,) would broadcast to (N, N)."""
        scores, labels = self(x)[..., 0], asarray(y)
        if labels.shape != scores.shape:
            raise ShapeError(
                f"{type(self).__name__}.loss: expected one label for each example, {scores.shape}, got {labels.shape}"
            )
        return scores, labels


class Perceptron(_OneScore):
    """sign(w x + b), Rosenblatt 1958. A step along its gradient is the perceptron rule: w += eta y x where it errs.

    Args:
        in_features: how many numbers an example has.
        bias: whether there is a b.
        device: where the parameters go.
        dtype: theirs.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import Perceptron
        >>> model = Perceptron(2)
        >>> _ = model.load_state_dict({"weight": [[1.0, 1.0]], "bias": [-1.5]})  # AND
        >>> model.predict(mg.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])).tolist()
        [-1.0, -1.0, -1.0, 1.0]
    """

    def loss(self, x: Any, y: Any) -> Any:
        """The mean over examples with labels -1 and 1."""
        s, y = self._scores(x, y)
        return ops.mean(ops.relu(-y * s))

    def predict(self, x: Any) -> Any:
        """-1.0 or 1.0 for each example."""
        return ops.where(self(x)[..., 0] > 0, 1.0, -1.0)


class LinearRegression(_OneScore):
    """w x + b, least squares: its minimum is where X^T (X w - y) = 0, the normal equations.

    Args:
        in_features: how many numbers an example has.
        bias: whether there is a b.
        device: where the parameters go.
        dtype: theirs.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import LinearRegression
        >>> LinearRegression(3).predict(mg.ones((5, 3))).shape
        (5,)
    """

    def loss(self, x: Any, y: Any) -> Any:
        """The mean over examples."""
        s, y = self._scores(x, y)
        return ops.mean((s - y) ** 2) / 2

    def predict(self, x: Any) -> Any:
        """A number for each example."""
        return self(x)[..., 0]


class LogisticRegression(_OneScore):
    """p(y = 1) = sigmoid(w x + b), the most likely w and b: a single neuron.

    Args:
        in_features: how many numbers an example has.
        bias: whether there is a b.
        device: where the parameters go.
        dtype: theirs.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import LogisticRegression
        >>> model = LogisticRegression(2)
        >>> _ = model.load_state_dict({"weight": [[2.0, 0.0]], "bias": [0.0]})
        >>> round(float(model.loss(mg.tensor([[0.0, 5.0]]), [1.0])), 4)  # log 2
        0.6931
    """

    def loss(self, x: Any, y: Any) -> Any:
        """The mean over examples with labels 0 and 1; log(1 + exp(s)) - y s is both logarithms, and does not overflow."""
        s, y = self._scores(x, y)
        return ops.mean(ops.softplus(s) - y * s)

    def probabilities(self, x: Any) -> Any:
        """p(y = 1) for each example."""
        return ops.sigmoid(self(x)[..., 0])

    def predict(self, x: Any) -> Any:
        """0 or 1 for each example."""
        return ops.astype(self(x)[..., 0] > 0, "int64")


class SoftmaxRegression(nn.Linear):
    """p(y = c) = softmax(W x + b)_c, the most likely W and b: multinomial logistic regression.

    ``SoftmaxRegression(in_features, num_classes, bias, device, dtype)``, as for :class:`minigrad.nn.Linear`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import SoftmaxRegression
        >>> model = SoftmaxRegression(1, 3)
        >>> _ = model.load_state_dict({"weight": [[3.2], [5.1], [-1.7]], "bias": [0.0, 0.0, 0.0]})
        >>> round(float(model.loss(mg.ones((1, 1)), [0])), 4)  # notes, the cat
        2.0404
    """

    def loss(self, x: Any, y: Any) -> Any:
        """The mean over examples with classes y: their surprise, in nats."""
        log_p = F.log_softmax(self(x), dim=-1)
        return -ops.mean(ops.sum(F.one_hot(asarray(y), self.out_features) * log_p, -1))

    def probabilities(self, x: Any) -> Any:
        """(N, C), rows that sum to 1."""
        return F.softmax(self(x), dim=-1)

    def predict(self, x: Any) -> Any:
        """The likeliest class of each example."""
        return ops.argmax(self(x), -1)


class LinearSVM(nn.Linear):
    """The class of the largest score W x + b, which is to win by a margin of 1: Weston & Watkins 1999.

    ``LinearSVM(in_features, num_classes, bias, device, dtype)``, as for :class:`minigrad.nn.Linear`. Its usual penalty
    lambda/2 |W|**2 is the optimiser's ``weight_decay=lambda``.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import LinearSVM
        >>> model = LinearSVM(1, 3)
        >>> _ = model.load_state_dict({"weight": [[3.2], [5.1], [-1.7]], "bias": [0.0, 0.0, 0.0]})
        >>> round(float(model.loss(mg.ones((1, 1)), [0])), 4)  # notes, the cat
        2.9
    """

    def loss(self, x: Any, y: Any) -> Any:
        """The mean over examples with classes y of the multiclass hinge loss."""
        s, own = self(x), F.one_hot(asarray(y), self.out_features)
        return ops.mean(ops.sum(ops.relu(s - ops.sum(own * s, -1, keepdims=True) + (1 - own)), -1))

    def predict(self, x: Any) -> Any:
        """The class of the largest score of each example."""
        return ops.argmax(self(x), -1)


class MLP(nn.Sequential):
    """``MLP(784, 128, 10)``: affine maps of these sizes with an activation between them, and scores at the end.

    Inputs of more axes than (N, D) are used as they are: flatten images first. Parameters are called ``0.weight``,
    ``0.bias``, ``2.weight``, ..., as in a Sequential of the same layers.

    Args:
        sizes: of the input, of each hidden layer, of the output.
        activation: makes a module: a class, or a function without arguments.
        dropout: the probability to drop a hidden unit; at 0 there is no such layer.
        batch_norm: normalise before each activation; the affine map's own bias then drops out of the result, and is left out.

    Example:
        >>> from minigrad import nn
        >>> from minigrad.nn.models import MLP
        >>> MLP(784, 128, 10)
        MLP(
          (0): Linear(in_features=784, out_features=128, bias=True)
          (1): ReLU()
          (2): Linear(in_features=128, out_features=10, bias=True)
        )
    """

    def __init__(
        self, *sizes: int, activation: Callable[[], nn.Module] = nn.ReLU, dropout: float = 0.0, batch_norm: bool = False
    ) -> None:
        if len(sizes) < 2:
            raise ShapeError(
                f"MLP: expected the sizes of the input and of the output at least, as in MLP(784, 128, 10), got {sizes}"
            )
        super().__init__()
        for before, after in pairwise(sizes[:-1]):
            self.append(nn.Linear(before, after, bias=not batch_norm))
            if batch_norm:
                self.append(nn.BatchNorm1d(after))
            self.append(activation())
            if dropout:
                self.append(nn.Dropout(dropout))
        self.append(nn.Linear(sizes[-2], sizes[-1]))

    def __getitem__(self, index: Any) -> Any:
        """A layer; a slice is a Sequential of the same layers, which no sizes describe."""
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self.named_children())[index]))
        return super().__getitem__(index)
