"""The layers as functions, without state: compositions of minigrad's operations, so every gradient of any order is theirs.

Arguments are PyTorch's, ``input`` first. They map Tensors to Tensors and plain arrays to plain arrays. ``inplace`` is accepted
where PyTorch has it, and changes nothing: a value that a gradient rule may need is never overwritten.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad import backend, ops, random, tracing
from minigrad.errors import BadIndexError, DtypeError, ShapeError
from minigrad.modes import no_grad
from minigrad.nn.ctc import ctc_loss
from minigrad.nn.distance import cosine_similarity, pairwise_distance, pdist, triplet_margin_with_distance_loss
from minigrad.nn.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    contractive_penalty,
    cosine_embedding_loss,
    cross_entropy,
    elastic_net,
    elbo,
    gaussian_kl,
    gaussian_nll_loss,
    hinge_embedding_loss,
    hinge_loss,
    huber_loss,
    kl_div,
    l1_loss,
    l1_penalty,
    l2_penalty,
    margin_ranking_loss,
    mse_loss,
    multi_margin_loss,
    multiclass_hinge_loss,
    nll_loss,
    pascanu_regulariser,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
    triplet_margin_loss,
)
from minigrad.nn.multilabel import multilabel_margin_loss, multilabel_soft_margin_loss
from minigrad.nn.numbers import hyperparameters
from minigrad.nn.resample import interpolate
from minigrad.nn.windows import (
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from minigrad.ops import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    fold,
    fused,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    relu,
    sigmoid,
    tanh,
    unfold,
)
from minigrad.ops.channels import affine, moments
from minigrad.tensor import Tensor, asarray

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "causal_bias",
    "celu",
    "channel_shuffle",
    "contractive_penalty",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elastic_net",
    "elbo",
    "elu",
    "embedding",
    "embedding_bag",
    "feature_alpha_dropout",
    "flatten",
    "fold",
    "gaussian_kl",
    "gaussian_nll_loss",
    "gaussian_noise",
    "gelu",
    "glu",
    "group_norm",
    "gumbel_softmax",
    "hard_limiter",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "l1_penalty",
    "l2_penalty",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "margin_ranking_loss",
    "mask_bias",
    "masked_softmax",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "maxout",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "multiclass_hinge_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pascanu_regulariser",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "rrelu",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "swish",
    "tanh",
    "tanhshrink",
    "threshold",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
]

Generator = np.random.Generator | None
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


# ---- affine maps ---------------------------------------------------------------------------------------------------------


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """``y = x W^T + b``: (..., in) to (..., out), with W of (out, in).

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.linear(mg.ones((2, 3)), mg.ones((4, 3)), mg.ones(4)).shape
        (2, 4)
    """
    if weight.ndim == 2:
        if bias is not None and bias.shape != weight.shape[:1] and bias.size != 1:
            _fits("linear", tuple(weight.shape[:1]), f"output (axis 0 of the weight's {tuple(weight.shape)})", bias=bias)
        return fused.linear(input, weight, bias)
    y = ops.matmul(input, ops.transpose(weight))
    return y if bias is None else y + bias


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """y_o = x1^T W_o x2 + b_o: (..., in1) and (..., in2) to (..., out), with W of (out, in1, in2).

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.bilinear(mg.ones((5, 2)), mg.ones((5, 3)), mg.ones((4, 2, 3))).shape
        (5, 4)
    """
    y = ops.einsum("...i,oij,...j->...o", input1, weight, input2)
    return y if bias is None else y + bias


@hyperparameters
def embedding(
    input: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Any:  # fmt: skip
    """Rows of a table: y[...] = W[x[...]], (...) integers to (..., dim).

    Args:
        input: row numbers.
        weight: (rows, dim).
        padding_idx: the row that stands for padding: it gets no gradient.
        max_norm: rows that are looked up and longer than this are shortened to it, in ``weight`` itself, before.
        norm_type: p of the norm that ``max_norm`` means.
        scale_grad_by_freq: divide a row's gradient by how often it was looked up.
        sparse: gradients are dense here, so only False.

    Raises:
        IndexError: if a number is negative or there is no such row.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.embedding([0, 2, 2], mg.tensor([[1.0], [2.0], [3.0]])).tolist()
        [[1.0], [3.0], [3.0]]
    """
    if sparse:
        raise ValueError("embedding: sparse=True: gradients are dense arrays here; pass sparse=False")
    index = asarray(input).detach() if not isinstance(input, Tensor) else input
    rows = weight.shape[0]
    if index.dtype.kind in "iu" and index.size and not 0 <= int(index._data.min()) <= int(index._data.max()) < rows:
        raise BadIndexError(
            f"embedding: row numbers go from {int(index._data.min())} to {int(index._data.max())}, but the table has {rows} rows: "
            f"expected 0 to {rows - 1}"
        )
    if max_norm is not None:
        _shorten(weight, np.unique(index.numpy()), max_norm, norm_type)
    y = ops.getitem(weight, index)
    if scale_grad_by_freq:
        _, inverse, counts = np.unique(index.numpy(), return_inverse=True, return_counts=True)
        share = (1 / counts[inverse].reshape((*index.shape, 1))).astype(y.dtype)
        y = y * share + y.detach() * (1 - share)
    if padding_idx is not None:
        y = ops.where(ops.expand_dims(index == padding_idx % rows, axis=-1), y.detach(), y)
    return y


def _shorten(weight: Tensor, used: Any, max_norm: float, norm_type: float) -> None:
    table = weight._data.copy()
    norms = np.linalg.norm(table[used], norm_type, axis=1, keepdims=True)
    # The small number is PyTorch's: it keeps a shortened row from being a rounding error too long the next time.
    table[used] = np.where(norms > max_norm, table[used] * (max_norm / (norms + 1e-7)), table[used])
    weight._data = table


@hyperparameters
def embedding_bag(
    input: Any, weight: Any, offsets: Any = None, max_norm: float | None = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, per_sample_weights: Any = None,
    include_last_offset: bool = False, padding_idx: int | None = None,
) -> Any:  # fmt: skip
    """Sums, means or maxima of rows of a table, one per bag: (B, N) integers, or (M,) with offsets, to (B, dim).

    Args:
        input: row numbers: bags of one size, or all bags one after the other.
        weight: (rows, dim).
        offsets: of flat numbers: where each bag begins.
        max_norm: as for :func:`embedding`, as are the next two.
        norm_type: as above.
        scale_grad_by_freq: as above.
        mode: ``"sum"``, ``"mean"`` or ``"max"``; an empty bag gives zeros.
        sparse: gradients are dense here, so only False.
        per_sample_weights: of the shape of ``input``: factors on the rows, for ``"sum"``.
        include_last_offset: whether the last offset only says where the last bag ends.
        padding_idx: a row that is passed over.

    Raises:
        ValueError: for another mode, or arguments that do not go together.
        ShapeError: if shapes do not fit.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> table = mg.tensor([[1.0], [2.0], [4.0]])
        >>> F.embedding_bag(mg.tensor([0, 2, 1]), table, mg.tensor([0, 2]), mode="sum").tolist()
        [[5.0], [2.0]]
    """
    op, input = "embedding_bag", asarray(input)
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"{op}: mode={mode!r}: expected sum, mean or max")
    if per_sample_weights is not None and (mode != "sum" or tuple(per_sample_weights.shape) != tuple(input.shape)):
        raise ValueError(f"{op}: per_sample_weights are for mode='sum', one per number of shape {tuple(input.shape)}")
    if input.ndim not in (1, 2) or (input.ndim == 1) != (offsets is not None):
        raise ShapeError(f"{op}: expected numbers (B, N), or (M,) with offsets; got shape {tuple(input.shape)}")
    rows = embedding(input, weight, None, max_norm, norm_type, scale_grad_by_freq, sparse)
    if per_sample_weights is not None:
        rows = rows * ops.expand_dims(per_sample_weights, axis=-1)
    here = np.ones(input.shape, bool)
    if offsets is not None:
        at, here = _bags(input.size, offsets, include_last_offset)
        input, rows = ops.take(input, at, 0), ops.take(rows, at, 0)
    if padding_idx is not None:
        here = (input != padding_idx % weight.shape[0]) & here
    count = ops.expand_dims(ops.sum(ops.astype(asarray(here), "int64"), axis=1), axis=1)
    here = ops.expand_dims(here, axis=2)
    if mode == "max":
        if rows.shape[1] == 0:
            return ops.sum(rows, 1)
        return ops.where(count > 0, ops.max(ops.where(here, rows, -math.inf), axis=1), 0.0)
    total = ops.sum(ops.where(here, rows, 0.0), 1)
    return total if mode == "sum" else total / ops.astype(ops.maximum(count, 1), total.dtype)


def _bags(size: int, offsets: Any, include_last_offset: bool) -> tuple[Any, Any]:
    """Bags of several sizes as a matrix of positions, and which of its places are filled."""
    raw = asarray(offsets)._data
    tracing.guard(raw, lambda a: a.tolist())
    starts = backend.to_numpy(raw)
    starts, ends = (starts[:-1], starts[1:]) if include_last_offset else (starts, np.append(starts[1:], size))
    if starts.ndim != 1 or (starts.size and (starts[0] != 0 or (ends < starts).any() or ends[-1] != size)):
        raise ShapeError(
            f"embedding_bag: offsets {raw.tolist()} for {size} numbers: expected to begin with 0 and to rise, and with "
            f"include_last_offset to end with {size}"
        )
    places = starts[:, None] + np.arange((ends - starts).max(initial=0))
    here = places < ends[:, None]
    return np.where(here, places, 0), here


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """Integers (...) as vectors (..., num_classes) of one 1 and zeros; -1 takes the largest integer + 1.

    Example:
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.one_hot([0, 2]).tolist()
        [[1, 0, 0], [0, 0, 1]]
    """
    index = asarray(tensor)
    return ops.one_hot(index, int(index._data.max()) + 1 if num_classes < 0 else num_classes, dtype="int64")


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Axes ``start_dim`` to ``end_dim`` joined into one.

    Raises:
        ShapeError: if there are no such axes, or they are the wrong way round.
    """
    return asarray(input).flatten(start_dim, end_dim)


# ---- activations ---------------------------------------------------------------------------------------------------------


@hyperparameters
def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """``y = x if x > 0, else slope * x`` (notes 001; there with slope 0.1). Kink: at 0 the gradient is the slope."""
    return fused.leaky_relu(input, negative_slope)


def prelu(input: Any, weight: Any) -> Any:
    """``y = x if x > 0, else w x``, where w is learned: one number, or one per channel (axis 1): He et al. 2015."""
    if weight.size != 1:
        if input.ndim < 2 or input.shape[1] != weight.size:
            raise ShapeError(
                f"prelu: {weight.size} slopes for an input of shape {tuple(input.shape)}: expected as many channels in axis 1"
            )
        weight = weight.reshape((-1,) + (1,) * (input.ndim - 2))
    elif input.ndim == 0:
        weight = weight.reshape(())
    return ops.where(input > 0, input, weight * input)


def relu6(input: Any, inplace: bool = False) -> Any:
    """``y = min(max(x, 0), 6)``. Kinks: the gradient is 0 at both."""
    return hardtanh(input, 0.0, 6.0)


@hyperparameters
def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """``y = min(max(x, low), high)``. Kinks: the gradient is 0 at both, as PyTorch's (not its clamp's)."""
    return fused.hardtanh(input, min_val, max_val)


@hyperparameters
def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """``y = x if x > threshold, else value``."""
    return ops.where(input > threshold, input, value)


@hyperparameters
def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """``y = x if x > 0, else alpha (exp(x) - 1)``: Clevert et al. 2016."""
    return fused.elu(input, alpha)


@hyperparameters
def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """``y = x if x > 0, else alpha (exp(x / alpha) - 1)``, whose slope is continuous at 0 for every alpha."""
    return fused.elu(input, alpha, 1 / alpha)


@hyperparameters
def rrelu(
    input: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False,
    generator: Generator = None,
) -> Any:  # fmt: skip
    """``y = x if x > 0, else a x``, each a drawn from U(lower, upper) while training, else their mean: Xu et al. 2015.

    Raises:
        ValueError: if lower is above upper.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.rrelu(mg.tensor([-4.0, 4.0]), 0.25, 0.75).tolist()
        [-2.0, 4.0]
    """
    if lower > upper:
        raise ValueError(f"rrelu: expected lower <= upper, got {lower} and {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2)
    device = input.device if isinstance(input, Tensor) else None
    slope = random.uniform(input.shape, lower, upper, dtype=input.dtype, generator=generator, device=device)
    return ops.where(input > 0, input, slope * input)


def selu(input: Any, inplace: bool = False) -> Any:
    """``y = 1.0507 elu(x, 1.6733)``: mean 0 and variance 1 are a fixed point of it (Klambauer et al. 2017)."""
    return SELU_SCALE * elu(input, SELU_ALPHA)


def gelu(input: Any, approximate: str = "none") -> Any:
    """``y = x P(Z <= x)`` for a standard normal Z: Hendrycks & Gimpel 2016.

    Args:
        input: of any shape.
        approximate: ``"none"`` x (1 + erf(x / sqrt 2)) / 2; ``"tanh"`` x (1 + tanh(sqrt(2/pi) (x + 0.044715 x**3))) / 2;
            ``"sigmoid"`` x sigmoid(1.702 x). The notes (001) print the last two.

    Raises:
        ValueError: for another form.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> [round(F.gelu(mg.tensor(1.0), form).item(), 4) for form in ("none", "tanh", "sigmoid")]
        [0.8413, 0.8412, 0.8458]
    """
    if approximate == "none":
        return fused.gelu(input)
    if approximate == "tanh":
        return fused.gelu_tanh(input)
    if approximate == "sigmoid":
        return input * ops.sigmoid(1.702 * input)
    raise ValueError(f"gelu: approximate={approximate!r}: expected none, tanh or sigmoid")


def silu(input: Any, inplace: bool = False) -> Any:
    """``y = x sigmoid(x)``."""
    return fused.silu(input)


@hyperparameters
def swish(input: Any, beta: float = 1.0) -> Any:
    """``y = x sigmoid(beta x)``: Ramachandran et al. 2017; with beta = 1 it is :func:`silu`."""
    return input * ops.sigmoid(beta * input)


def mish(input: Any, inplace: bool = False) -> Any:
    """``y = x tanh(softplus(x))``: Misra 2019."""
    return input * ops.tanh(ops.softplus(input))


@hyperparameters
def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """``y = log(1 + exp(beta x)) / beta``, and x itself where beta x > threshold. Its derivative is sigmoid(beta x) (notes 001)."""
    return ops.where(beta * input > threshold, input, ops.softplus(beta * input) / beta)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """``y = min(max(x + 3, 0), 6) / 6``."""
    return relu6(input + 3) / 6


def hardswish(input: Any, inplace: bool = False) -> Any:
    """``y = x min(max(x + 3, 0), 6) / 6``: Howard et al. 2019."""
    return input * relu6(input + 3) / 6


def softsign(input: Any) -> Any:
    """``y = x / (1 + |x|)``."""
    return input / (1 + ops.abs(input))


def tanhshrink(input: Any) -> Any:
    """``y = x - tanh(x)``."""
    return input - ops.tanh(input)


@hyperparameters
def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """``y = x`` moved towards 0 by lambd, and 0 within lambd of it: the proximal step of an L1 penalty."""
    return ops.where(input > lambd, input - lambd, ops.where(input < -lambd, input + lambd, 0 * input))


@hyperparameters
def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """``y = x``, and 0 within lambd of 0."""
    return ops.where((input > lambd) | (input < -lambd), input, 0 * input)


def logsigmoid(input: Any) -> Any:
    """``y = log(sigmoid(x)) = -softplus(-x)``, accurate where the sigmoid underflows."""
    return -ops.softplus(-input)


@hyperparameters
def softmax(input: Any, dim: int = -1, dtype: Any = None, temperature: float = 1.0) -> Any:
    """y_i = exp(x_i / T) / sum_j exp(x_j / T) along ``dim`` (the last axis; PyTorch guesses one and warns)."""
    return ops.softmax(input if dtype is None else ops.astype(input, dtype), dim, temperature)


def softmin(input: Any, dim: int = -1, dtype: Any = None) -> Any:
    """softmax(-x)."""
    return softmax(-input, dim, dtype)


@hyperparameters
def log_softmax(input: Any, dim: int = -1, dtype: Any = None, temperature: float = 1.0) -> Any:
    """log(softmax(x)), accurate where softmax underflows."""
    return ops.log_softmax(input if dtype is None else ops.astype(input, dtype), dim, temperature)


@hyperparameters
def gumbel_softmax(
    logits: Any, tau: float = 1.0, hard: bool = False, dim: int = -1, *, generator: Generator = None
) -> Any:  # fmt: skip
    """softmax((x + g) / tau) with g = -log(-log U), U ~ U(0, 1): a draw from the classes that has a gradient: Jang et al. 2017.

    Args:
        logits: unnormalised log-probabilities.
        tau: the temperature: towards 0 the draw becomes one class.
        hard: return the one-hot vector of the largest, with the gradient of the soft one.
        dim: the axis of the classes.
        generator: where the draws come from; by default the generator that ``mg.manual_seed`` sets.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> sorted(F.gumbel_softmax(mg.zeros(3), hard=True).tolist())
        [0.0, 0.0, 1.0]
    """
    device = logits.device if isinstance(logits, Tensor) else None
    u = random.uniform(logits.shape, 0.0, 1.0, dtype=logits.dtype, generator=generator, device=device)
    tiny = float(np.finfo(logits.dtype).tiny)
    noise = -ops.log(-ops.log(ops.clip(u, tiny, 1 - float(np.finfo(logits.dtype).epsneg))))
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    n = soft.shape[dim]
    chosen = ops.moveaxis(ops.one_hot(ops.argmax(soft, axis=dim), n, dtype=soft.dtype), -1, dim)
    still = soft.detach() if isinstance(soft, Tensor) else soft
    return chosen - still + soft


def glu(input: Any, dim: int = -1) -> Any:
    """``y = a sigmoid(b)``, where a and b are the halves of x along ``dim``: Dauphin et al. 2017.

    Raises:
        ShapeError: if the axis has no halves.
    """
    a, b = _parts(input, 2, dim, "glu")
    return a * ops.sigmoid(b)


def maxout(input: Any, num_pieces: int, dim: int = -1) -> Any:
    """y_i = max over the ``num_pieces`` units of group i, which lie side by side: (..., out * pieces) to (..., out).

    Of affine units it learns the activation itself, a convex piecewise linear one (Goodfellow et al. 2013; notes 001).

    Raises:
        ShapeError: if the axis does not divide into groups.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.maxout(mg.tensor([1.0, 5.0, 3.0, 2.0]), 2).tolist()
        [5.0, 3.0]
    """
    axis = dim % input.ndim
    if input.shape[axis] % num_pieces:
        raise ShapeError(f"maxout: axis {dim} of shape {tuple(input.shape)} does not divide into groups of {num_pieces}")
    grouped = input.reshape((*input.shape[:axis], -1, num_pieces, *input.shape[axis + 1 :]))
    return ops.max(grouped, axis=axis + 1)


@hyperparameters
def hard_limiter(input: Any, low: float = 0.0, high: float = 1.0) -> Any:
    """``y = high if x >= 0, else low``: the perceptron's output. It has no gradient; the perceptron has its own learning rule."""
    return low + (high - low) * ops.astype(input >= 0, input.dtype)


def _parts(x: Any, n: int, dim: int, op: str) -> Any:
    if x.shape[dim] % n:
        raise ShapeError(f"{op}: axis {dim} of shape {tuple(x.shape)} does not divide into {n} parts")
    return ops.split(x, n, axis=dim)


# ---- noise ---------------------------------------------------------------------------------------------------------------


@hyperparameters
def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator = None) -> Any:
    """``y = x m / (1 - p)``, where each m is 0 with probability p, else 1: the mean stays as it is, so a test changes nothing.

    "Inverted" dropout (Srivastava et al. 2014; the p of notes 001 is the probability to *keep*). In evaluation y = x.

    Args:
        input: of any shape.
        p: the probability to drop an element.
        training: whether anything is dropped.
        inplace: changes nothing here.
        generator: where the draws come from; by default the generator that ``mg.manual_seed`` sets.

    Raises:
        ValueError: if p is not a probability.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> sorted({*F.dropout(mg.ones(1000), 0.75).tolist()})
        [0.0, 4.0]
    """
    return _drop(input, p, training, input.shape, generator, "dropout")


def _inverted(x: Any, mask: Any, p: float) -> Any:
    return x * (mask / (1 - p))


def _drop(
    x: Any, p: float, training: bool, shape: tuple[int, ...], generator: Generator, op: str,
    dropped: Callable[[Any, Any, float], Any] = _inverted,
) -> Any:  # fmt: skip
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: p is the probability to drop: expected 0 <= p <= 1, got {p}")
    if not training or p == 0:
        return x
    if p == 1:
        return 0 * x
    mask = random.bernoulli(1 - p, shape, x.dtype, generator, x.device if isinstance(x, Tensor) else None)
    return dropped(x, mask, p)


@hyperparameters
def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator = None) -> Any:
    """:func:`dropout2d` for (N, C, L)."""
    return _drop(input, p, training, _channels(input, "dropout1d"), generator, "dropout1d")


@hyperparameters
def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator = None) -> Any:
    """Dropout of whole channels of (N, C, H, W), whose neighbouring pixels say much the same: Tompson et al. 2015."""
    return _drop(input, p, training, _channels(input, "dropout2d"), generator, "dropout2d")


@hyperparameters
def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Generator = None) -> Any:
    """:func:`dropout2d` for (N, C, D, H, W)."""
    return _drop(input, p, training, _channels(input, "dropout3d"), generator, "dropout3d")


def _channels(x: Any, op: str) -> tuple[int, ...]:
    if x.ndim < 2:
        raise ShapeError(f"{op}: expected an input (N, C, ...), got shape {tuple(x.shape)}")
    return (*x.shape[:2], *(1,) * (x.ndim - 2))


ALPHA_PRIME = -SELU_ALPHA * SELU_SCALE
"""What selu tends to far to the left: alpha dropout puts it where it drops."""


@hyperparameters
def alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False, generator: Generator = None
) -> Any:
    """Dropout for :func:`selu`: what is dropped becomes selu(-inf), then an affine map restores mean 0 and variance 1.

    y = a (x m + s (1 - m)) + b with s = -1.7581, each m 0 with probability p, a = ((1 - p)(1 + p s**2))**-1/2, b = -a p s:
    Klambauer et al. 2017.

    Raises:
        ValueError: if p is not a probability.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> len({*F.alpha_dropout(mg.zeros(1000), 0.5, training=True).tolist()})
        2
    """
    return _drop(input, p, training, input.shape, generator, "alpha_dropout", _towards_alpha)


@hyperparameters
def feature_alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False, generator: Generator = None
) -> Any:
    """:func:`alpha_dropout` of whole channels of (N, C, ...)."""
    shape = _channels(input, "feature_alpha_dropout")
    return _drop(input, p, training, shape, generator, "feature_alpha_dropout", _towards_alpha)


def _towards_alpha(x: Any, mask: Any, p: float) -> Any:
    a = ((1 - p) * (1 + p * ALPHA_PRIME**2)) ** -0.5
    return x * (a * mask) + a * ALPHA_PRIME * (1 - mask - p)


@hyperparameters
def gaussian_noise(input: Any, std: float = 0.1, training: bool = True, generator: Generator = None) -> Any:
    """``y = x + std e`` with e ~ N(0, 1) while training: noise on inputs, as a regulariser (Bishop 1995; notes 001)."""
    if not training or std == 0:
        return input
    device = input.device if isinstance(input, Tensor) else None
    return input + random.normal(input.shape, 0.0, std, dtype=input.dtype, generator=generator, device=device)


# ---- normalisation -------------------------------------------------------------------------------------------------------


def _scaled(centred: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    """``weight (x - mean) / sqrt(var + eps) + bias``. The factor is worked out first: it is smaller than x."""
    y = centred * ((1 if weight is None else weight) / ops.sqrt(var + eps))
    return y if bias is None else y + bias


def _moments(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """The mean, ``x - mean``, and the variance, which is the mean of its squares."""
    mean = ops.mean(x, axes, keepdims=True)
    centred = x - mean
    return mean, centred, ops.mean(centred * centred, axes, keepdims=True)


@hyperparameters
def batch_norm(
    input: Any, running_mean: Tensor | None, running_var: Tensor | None, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """``y = weight (x - mean_c) / sqrt(var_c + eps) + bias`` for each channel c of (N, C, ...).

    In training mean and variance are those of the batch, over all axes but C, and the running ones move towards them:
    running <- (1 - momentum) running + momentum measured, with the unbiased variance. Otherwise the running ones are used.
    Ioffe & Szegedy 2015; notes 001, Figure 17, has the backward pass node by node.

    Raises:
        ShapeError: if a batch in training has one value per channel, which is its own mean.
    """
    if input.ndim < 2:
        raise ShapeError(f"batch_norm: expected an input (N, C, ...), got shape {tuple(input.shape)}")
    _fits(
        "batch_norm", (input.shape[1],), f"channel (axis 1 of the input's {tuple(input.shape)})", running_mean=running_mean,
        running_var=running_var, weight=weight, bias=bias,
    )  # fmt: skip
    if training:
        count = input.size // max(1, input.shape[1])
        if count <= 1:
            raise ShapeError(
                f"batch_norm: one value per channel (shape {tuple(input.shape)}) is its own mean: expected a larger batch, or eval()"
            )
        measured = moments(input)
        mean, var = measured[0], measured[1]
        if running_mean is not None and running_var is not None:
            _follow(running_mean, mean, momentum)
            _follow(running_var, var * (count / (count - 1)), momentum)
    elif running_mean is None or running_var is None:
        raise ValueError("batch_norm: running_mean and running_var are needed when training is False")
    else:
        mean, var = running_mean, running_var
    return affine(input, (1 if weight is None else weight) / ops.sqrt(var + eps), mean, bias)


def _fits(op: str, shape: tuple[int, ...], what: str, **given: Any) -> None:
    """Raise unless each of ``given`` has ``shape``: one number per ``what``."""
    for name, value in given.items():
        if value is not None and tuple(value.shape) != shape:
            raise ShapeError(f"{op}: {name} has shape {tuple(value.shape)}: expected {shape}, one number per {what}")


def _follow(running: Tensor, measured: Any, momentum: float) -> None:
    """Running <- (1 - momentum) running + momentum measured, in the tensor itself."""
    with no_grad():
        running += ops.astype(momentum * (measured.reshape(running.shape) - running), running.dtype)


@hyperparameters
def instance_norm(
    input: Any, running_mean: Tensor | None = None, running_var: Tensor | None = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """Each channel of each image by its own mean and variance, over the axes after (N, C): Ulyanov et al. 2016.

    Running statistics, if there are any, follow the mean of those of the batch.

    Raises:
        ShapeError: if there is only one value to normalise.
    """
    if use_input_stats:
        count = math.prod(input.shape[2:])
        if count <= 1:
            raise ShapeError(f"instance_norm: one value per channel (shape {tuple(input.shape)}) is its own mean")
        if running_mean is not None and running_var is not None:
            with no_grad():
                mean, _, var = _moments(input, tuple(range(2, input.ndim)))
                _follow(running_mean, ops.mean(mean, 0), momentum)
                _follow(running_var, ops.mean(var, 0) * (count / (count - 1)), momentum)
        y = layer_norm(input.reshape((*input.shape[:2], count)), count, eps=eps).reshape(input.shape)
        return _per_channel(y, weight, bias)
    if running_mean is None or running_var is None:
        raise ValueError("instance_norm: running_mean and running_var are needed when use_input_stats is False")
    return affine(input, (1 if weight is None else weight) / ops.sqrt(running_var + eps), running_mean, bias)


def _per_channel(x: Any, weight: Any, bias: Any) -> Any:
    """``weight x + bias`` for each channel of (N, C, ...)."""
    if weight is None:
        return x if bias is None else x + bias.reshape((-1, *(1,) * (x.ndim - 2)))
    return affine(x, weight, None, bias)


@hyperparameters
def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Groups of C / num_groups channels of (N, C, ...), each by its own mean and variance: Wu & He 2018.

    Raises:
        ShapeError: if the channels do not divide into groups.
    """
    if input.ndim < 2 or input.shape[1] % num_groups:
        raise ShapeError(f"group_norm: axis 1 of shape {tuple(input.shape)} does not divide into {num_groups} groups")
    n, c, *rest = input.shape
    _fits("group_norm", (c,), f"channel (axis 1 of the input's {tuple(input.shape)})", weight=weight, bias=bias)
    grouped = input.reshape((n, num_groups, c // num_groups * math.prod(rest)))
    y = layer_norm(grouped, grouped.shape[-1], eps=eps).reshape((n, c, *rest))
    return _per_channel(y, weight, bias)


@hyperparameters
def layer_norm(
    input: Any, normalized_shape: Sequence[int] | int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """``y = weight (x - mean) / sqrt(var + eps) + bias`` over the last axes, whose shape is ``normalized_shape``: Ba et al. 2016.

    Raises:
        ShapeError: if the input's last axes have another shape.
    """
    axes = _last(input, normalized_shape, "layer_norm")
    _fits("layer_norm", tuple(input.shape[axes[0] :]), "element of normalized_shape", weight=weight, bias=bias)
    if len(axes) == 1 and input.shape[-1]:
        return fused.layer_norm(input, weight, bias, eps)
    _, centred, var = _moments(input, axes)
    return _scaled(centred, var, weight, bias, eps)


@hyperparameters
def rms_norm(input: Any, normalized_shape: Sequence[int] | int, weight: Any = None, eps: float | None = None) -> Any:
    """``y = weight x / sqrt(mean(x**2) + eps)`` over the last axes: Zhang & Sennrich 2019. ``eps`` None is that of the dtype.

    Raises:
        ShapeError: if the input's last axes have another shape.
    """
    axes = _last(input, normalized_shape, "rms_norm")
    _fits("rms_norm", tuple(input.shape[axes[0] :]), "element of normalized_shape", weight=weight)
    eps = float(np.finfo(input.dtype).eps) if eps is None else eps
    if len(axes) == 1 and input.shape[-1]:
        return fused.rms_norm(input, weight, eps)
    y = input / ops.sqrt(ops.mean(input * input, axes, keepdims=True) + eps)
    return y if weight is None else y * weight


def _last(x: Any, normalized_shape: Sequence[int] | int, op: str) -> tuple[int, ...]:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if tuple(x.shape[x.ndim - len(shape) :]) != shape or x.ndim < len(shape):
        raise ShapeError(f"{op}: expected last axes {shape}, got an input of shape {tuple(x.shape)}")
    return tuple(range(-len(shape), 0))


@hyperparameters
def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """y_c = x_c / (k + alpha/size sum of x_j**2 over the ``size`` channels j around c)**beta: AlexNet's (notes 001).

    AlexNet's paper does not divide alpha by size; PyTorch does, and so does this.

    Raises:
        ShapeError: if there are no channels.
    """
    if input.ndim < 3:
        raise ShapeError(f"local_response_norm: expected an input (N, C, ...), got shape {tuple(input.shape)}")
    channels = input.shape[1]
    width = [(0, 0), (size // 2, (size - 1) // 2), *((0, 0),) * (input.ndim - 2)]
    squares = ops.pad(input * input, width)
    total = squares[:, :channels]
    for j in range(1, size):
        total = total + squares[:, j : j + channels]
    return input / (k + (alpha / size) * total) ** beta


@hyperparameters
def normalize(input: Any, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12) -> Any:
    """``y = x / max(||x||_p, eps)`` along ``dim``."""
    return input / ops.clip(ops.vector_norm(input, p, dim, keepdims=True), eps)


# ---- shape ---------------------------------------------------------------------------------------------------------------

_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@hyperparameters
def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """A border: ``pad`` is (left, right) of the last axis, then (top, bottom) of the one before, ... Negative numbers cut.

    Args:
        input: of any shape.
        pad: an even number of widths.
        mode: constant, reflect, replicate or circular.
        value: of a constant border, 0 by default.

    Raises:
        ShapeError: if the widths do not fit the axes.
        ValueError: if the mode is unknown.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.pad(mg.ones((1, 2, 3)), (1, 1, 0, 2)).shape
        (1, 4, 5)
    """
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ShapeError(
            f"pad: {len(pad)} widths for an input of shape {tuple(input.shape)}: expected two per axis, last axis first"
        )
    if mode != "constant" and mode not in _MODES:
        raise ValueError(f"pad: unknown mode {mode!r}: expected constant, {', '.join(_MODES)}")
    width = [(0, 0)] * (input.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    if min(pad, default=0) < 0:
        input = input[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(input.shape, width))]
        width = [(max(a, 0), max(b, 0)) for a, b in width]
    if mode == "constant":
        return ops.pad(input, width, constant_values=value or 0)
    return ops.pad(input, width, mode=_MODES[mode])


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """(..., C r**2, H, W) to (..., C, H r, W r): channels become the pixels of finer images (Shi et al. 2016).

    Raises:
        ShapeError: if the channels do not divide.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.pixel_shuffle(mg.tensor([[[1.0]], [[2.0]], [[3.0]], [[4.0]]]), 2).tolist()
        [[[1.0, 2.0], [3.0, 4.0]]]
    """
    r = upscale_factor
    if input.ndim < 3 or r < 1 or input.shape[-3] % (r * r):
        raise ShapeError(f"pixel_shuffle: expected (..., C * {r}**2, H, W), got shape {tuple(input.shape)}")
    *batch, c, h, w = input.shape
    n = len(batch)
    x = input.reshape((*batch, c // (r * r), r, r, h, w))
    x = ops.permute_dims(x, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return x.reshape((*batch, c // (r * r), h * r, w * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """The inverse of :func:`pixel_shuffle`: (..., C, H r, W r) to (..., C r**2, H, W).

    Raises:
        ShapeError: if height and width do not divide.
    """
    r = downscale_factor
    if input.ndim < 3 or r < 1 or input.shape[-1] % r or input.shape[-2] % r:
        raise ShapeError(f"pixel_unshuffle: expected (..., C, H * {r}, W * {r}), got shape {tuple(input.shape)}")
    *batch, c, h, w = input.shape
    n = len(batch)
    x = input.reshape((*batch, c, h // r, r, w // r, r))
    x = ops.permute_dims(x, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return x.reshape((*batch, c * r * r, h // r, w // r))


def channel_shuffle(input: Any, groups: int) -> Any:
    """Channel k of group g of (N, C, ...) becomes channel g of group k, so that grouped convolutions mix (Zhang et al. 2018).

    Raises:
        ShapeError: if the channels do not divide into groups.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.channel_shuffle(mg.arange(6.0).reshape((1, 6, 1)), 2).reshape(-1).tolist()
        [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
    """
    if input.ndim < 3 or groups < 1 or input.shape[1] % groups:
        raise ShapeError(f"channel_shuffle: axis 1 of shape {tuple(input.shape)} does not divide into {groups} groups")
    n, c, *rest = input.shape
    return ops.swapaxes(input.reshape((n, groups, c // groups, *rest)), 1, 2).reshape((n, c, *rest))


# ---- attention -----------------------------------------------------------------------------------------------------------


@hyperparameters
def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """Y = softmax(q k^T / sqrt(d) + mask) v: (..., L, d), (..., S, d) and (..., S, e) to (..., L, e): Vaswani et al. 2017, eq. 1.

    Args:
        query: L vectors of d numbers that ask.
        key: S vectors of d numbers that are asked.
        value: S vectors of e numbers, which are averaged.
        attn_mask: of a shape that broadcasts to (..., L, S): boolean, True where a query *may* attend (the modules' masks say
            where not), or floating, added to the scores. A query that may attend to nothing gets zeros.
        dropout_p: the probability to drop a weight; it does not ask whether anything is training.
        is_causal: whether query i may attend to keys 0 to i only.
        scale: 1 / sqrt(d) if None.
        enable_gqa: whether heads of queries (axis -3) share those of keys and values, in groups side by side (Ainslie et al. 2023).

    Raises:
        ShapeError: if shapes do not fit each other.
        DtypeError: if the mask has integers.
        ValueError: if there is a mask and ``is_causal`` too.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> q = mg.tensor([[1.0, 0.0]])
        >>> F.scaled_dot_product_attention(q, mg.eye(2), mg.tensor([[0.0], [1.0]])).numpy().round(2)
        array([[0.33]], dtype=float32)
    """
    op = "scaled_dot_product_attention"
    shapes = tuple(query.shape), tuple(key.shape), tuple(value.shape)
    if min(map(len, shapes)) < 2 or query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(f"{op}: expected shapes (..., L, d), (..., S, d) and (..., S, e), got {', '.join(map(str, shapes))}")
    if is_causal and attn_mask is not None:
        raise ValueError(f"{op}: is_causal=True with attn_mask: expected one of them; the mask can be causal itself")
    if enable_gqa:
        if min(map(len, shapes)) < 3 or query.shape[-3] % key.shape[-3] or key.shape[-3] != value.shape[-3]:
            raise ShapeError(f"{op}: enable_gqa: the heads (axis -3) of {shapes[0]} are no multiple of those of {shapes[1:]}")
        key, value = (ops.repeat(x, query.shape[-3] // x.shape[-3], axis=-3) for x in (key, value))
    scores = ops.matmul(query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale), ops.swapaxes(key, -2, -1))
    bias = None
    if is_causal:
        bias = causal_bias(query.shape[-2], key.shape[-2], query)
    elif attn_mask is not None:
        bias = mask_bias(attn_mask, query, False, f"{op}: attn_mask")
        if not _broadcasts(bias.shape, scores.shape):
            raise ShapeError(
                f"{op}: attn_mask of shape {tuple(bias.shape)} does not broadcast to the scores' {tuple(scores.shape)}"
            )
    return ops.matmul(dropout(masked_softmax(scores, bias), dropout_p), value)


def _broadcasts(shape: Any, target: Any) -> bool:
    return len(shape) <= len(target) and all(n in (1, m) for n, m in zip(reversed(shape), reversed(target)))


def masked_softmax(scores: Any, bias: Any = None) -> Any:
    """softmax(scores + bias) along the last axis, and zeros where a row of the bias is -inf throughout, whose softmax is 0 / 0.

    Args:
        scores: (..., L, S).
        bias: of a shape that broadcasts to it and has all S columns: -inf where nothing may go, as :func:`mask_bias` makes it.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.masked_softmax(mg.zeros((2, 2)), mg.tensor([[0.0, -float("inf")], [-float("inf")] * 2])).tolist()
        [[1.0, 0.0], [0.0, 0.0]]
    """
    if bias is None:
        return ops.softmax(scores)
    nowhere = ops.all(bias == -math.inf, axis=-1, keepdims=True)
    if not tracing.varies(nowhere) and not ops.any(nowhere):
        return ops.softmax(scores + bias)
    return ops.where(nowhere, 0.0, ops.softmax(scores + ops.where(nowhere, 0.0, bias)))


def mask_bias(mask: Any, like: Any, blocked: bool = True, name: str = "mask_bias") -> Any:
    """What a mask adds to scores: of a boolean one -inf where it is ``blocked`` and 0 elsewhere; a floating one as it is.

    Args:
        mask: of any shape.
        like: whose dtype and device the result has.
        blocked: the boolean that means "must not attend".
        name: of the mask, for the error.

    Raises:
        DtypeError: if the mask has integers.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.mask_bias([True, False], mg.zeros(2)).tolist()
        [-inf, 0.0]
    """
    if not isinstance(mask, Tensor):
        mask = asarray(mask, device=like.device) if isinstance(like, Tensor) else np.asarray(mask)
    if mask.dtype.kind not in "bfc":  # complex: of the complex step, which tests gradients
        raise DtypeError(f"{name}: expected booleans or floating values, got dtype {mask.dtype}; compare it: mask == 1")
    bias = ops.where(mask if blocked else ~mask, -math.inf, 0.0) if mask.dtype.kind == "b" else mask
    return bias if bias.dtype == like.dtype or "c" in bias.dtype.kind + like.dtype.kind else ops.astype(bias, like.dtype)


def causal_bias(rows: int, columns: int, like: Any) -> Any:
    """(rows, columns), 0 up to the diagonal and -inf above, in the dtype and on the device of ``like``: row i sees 0 to i."""
    return mask_bias(np.tri(rows, columns, dtype=bool), like, blocked=False)
