"""Autoencoders: a code h = f(x) from which g(h) gives x back (notes 001, "Autoencoders and Variational Autoencoders").

What makes them different is what they minimise, the mean over examples of:

=====================  ==============================================  ==========================================
model                  loss of an example                              source
=====================  ==============================================  ==========================================
Autoencoder            |x - g(f(x))|**2                                notes 001
LinearAutoencoder      |x - W W^T x|**2                                Baldi & Hornik 1989: it is PCA
SparseAutoencoder      |x - g(h)|**2 + lambda |h|_1                    notes 001
DenoisingAutoencoder   |x - g(f(x + e))|**2                            Vincent et al. 2008
ContractiveAutoencoder |x - g(h)|**2 + lambda |dh/dx|_F**2             Rifai et al. 2011
=====================  ==============================================  ==========================================
"""

from __future__ import annotations

import math
from typing import Any

import minigrad as mg
from minigrad import nn, ops
from minigrad.errors import ShapeError
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import init
from minigrad.tensor import Tensor, asarray


def _squared_error(x_hat: Any, x: Any) -> Any:
    """The mean over examples of |x - x_hat|**2, a sum over everything but the first axis."""
    x = asarray(x)
    if x.shape != x_hat.shape:
        raise ShapeError(
            f"loss: x has shape {x.shape}, its reconstruction {x_hat.shape}: expected equal shapes; "
            f"let the decoder end in x's shape (nn.Unflatten), or flatten x"
        )
    return ops.sum(ops.square(x - x_hat)) / len(x)


class Autoencoder(nn.Module):
    """x_hat = g(f(x)), trained by the squared error; other autoencoders here add something to that.

    Args:
        encoder: f, a module from x to the code h.
        decoder: g, a module from h to the shape of x.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import MLP, Autoencoder
        >>> model = Autoencoder(MLP(64, 32, 2), MLP(2, 32, 64))
        >>> x = mg.ones((5, 64))
        >>> model.encode(x).shape, model(x).shape, model.loss(x).shape
        ((5, 2), (5, 64), ())
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        self.encoder, self.decoder = encoder, decoder

    def encode(self, x: Any) -> Any:
        """The code h = f(x)."""
        return self.encoder(x)

    def decode(self, h: Any) -> Any:
        """What a code stands for, g(h)."""
        return self.decoder(h)

    def forward(self, x: Any) -> Any:
        return self.decode(self.encode(x))

    def loss(self, x: Any) -> Any:
        """|x - g(f(x))|**2, the mean over the N examples x of shape (N, ...)."""
        return _squared_error(self(x), x)


class LinearAutoencoder(Autoencoder):
    """h = W (x - b), x_hat = W^T h + b: one matrix does both, and at the minimum it is that of the principal components.

    There the rows of W are orthonormal and span what the largest singular vectors of the centred data span (up to a rotation
    within), b is the mean but for a part in that span, and the loss is the sum of the other variances: Baldi & Hornik 1989.

    Args:
        in_features: how many numbers an example has.
        code_features: how many are kept.
        device: where the parameters go.
        dtype: theirs.

    Attributes:
        weight: W, (code_features, in_features), at first with orthonormal rows. The notes' W is its transpose.
        bias: b, (in_features,), at first 0.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import LinearAutoencoder
        >>> model = LinearAutoencoder(2, 1)
        >>> _ = model.load_state_dict({"weight": [[1.0, 0.0]], "bias": [0.0, 1.0]})
        >>> model(mg.tensor([[5.0, 7.0]])).tolist()
        [[5.0, 1.0]]
    """

    _shown = ("in_features", "code_features")

    def __init__(self, in_features: int, code_features: int, device: str | None = None, dtype: Any = None) -> None:
        self.in_features, self.code_features = in_features, code_features
        self.weight = nn.module.empty_parameter((code_features, in_features), device, dtype)
        self.bias = nn.module.empty_parameter((in_features,), device, dtype)
        init.orthogonal_(self.weight)
        init.zeros_(self.bias)

    def encode(self, x: Any) -> Any:
        """W (x - b)."""
        return F.linear(x - self.bias, self.weight)

    def decode(self, h: Any) -> Any:
        """W^T h + b."""
        return F.linear(h, self.weight.mT, self.bias)


class SparseAutoencoder(Autoencoder):
    """An autoencoder most of whose code is off: by |h|_1, or by how often each unit may be on.

    With ``rate`` r, the penalty is sum_j KL(r || r_j), where r_j is the mean of h_j over the batch, so f must end in a sigmoid
    (Ng 2011, "Sparse autoencoder").

    Args:
        encoder: f.
        decoder: g.
        penalty: lambda.
        rate: None for the L1 penalty, else r, between 0 and 1.

    Raises:
        ValueError: for a rate outside (0, 1); from ``loss``, if there is a rate and a unit's mean is outside [0, 1].

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> from minigrad.nn.models import SparseAutoencoder
        >>> model = SparseAutoencoder(nn.Identity(), nn.Identity(), penalty=0.5)
        >>> model.loss(mg.tensor([[3.0, -1.0], [0.0, 2.0]])).item()
        1.5
    """

    _shown = ("penalty", "rate")

    def __init__(self, encoder: nn.Module, decoder: nn.Module, penalty: float = 1e-3, rate: float | None = None) -> None:
        if rate is not None and not 0 < rate < 1:
            raise ValueError(f"SparseAutoencoder: rate={rate}: expected None, or a number between 0 and 1, as 0.05")
        super().__init__(encoder, decoder)
        self.penalty, self.rate = penalty, rate

    def loss(self, x: Any) -> Any:
        """|x - g(h)|**2 + lambda |h|_1, the mean over examples; with a rate, + lambda sum_j KL(r || mean h_j)."""
        h = self.encode(x)
        return _squared_error(self.decode(h), x) + self.penalty * self._activity(h)

    def _activity(self, h: Any) -> Any:
        if self.rate is None:
            return F.l1_penalty(h) / len(h)
        r, measured = self.rate, ops.mean(h, 0)
        entropy = -(r * math.log(r) + (1 - r) * math.log(1 - r))
        return F.binary_cross_entropy(measured, mg.full_like(measured, r), reduction="sum") - entropy * measured.size


class DenoisingAutoencoder(Autoencoder):
    """An autoencoder that sees x + e and is to give x: it has to learn what x are like. In evaluation there is no noise.

    Args:
        encoder: f.
        decoder: g.
        corruption: a module that spoils x while training: ``nn.GaussianNoise(0.5, mg.random.generator(0))``, say, or
            ``nn.Dropout(0.3)``, which blots out numbers (and raises the others); by default ``nn.GaussianNoise(0.1)``.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> from minigrad.nn.models import DenoisingAutoencoder
        >>> model = DenoisingAutoencoder(nn.Identity(), nn.Identity(), nn.GaussianNoise(0.5))
        >>> model.loss(mg.ones((2, 3))).item() > 0, model.eval().loss(mg.ones((2, 3))).item()
        (True, 0.0)
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, corruption: nn.Module | None = None) -> None:
        super().__init__(encoder, decoder)
        self.corruption = nn.GaussianNoise() if corruption is None else corruption

    def loss(self, x: Any) -> Any:
        """|x - g(f(x + e))|**2, the mean over examples."""
        return _squared_error(self(self.corruption(x)), x)


class ContractiveAutoencoder(Autoencoder):
    """An autoencoder whose code hardly follows small moves of x: the penalty is |dh/dx|_F**2, so learning takes d2h/dx dw.

    For h = sigmoid(W x + b) it is sum_j (h_j (1 - h_j))**2 |W_j|**2; here f may be any module that treats the examples one by
    one (no batch normalisation). It costs a backward pass for each number of the code.

    Args:
        encoder: f, to codes (N, H).
        decoder: g.
        penalty: lambda.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> from minigrad.nn.models import ContractiveAutoencoder
        >>> model = ContractiveAutoencoder(nn.Identity(), nn.Identity(), penalty=0.5)
        >>> model.loss(mg.ones((2, 3))).item()
        1.5
    """

    _shown = ("penalty",)

    def __init__(self, encoder: nn.Module, decoder: nn.Module, penalty: float = 0.1) -> None:
        super().__init__(encoder, decoder)
        self.penalty = penalty

    def loss(self, x: Any) -> Any:
        """|x - g(h)|**2 + lambda |dh/dx|_F**2, the mean over examples; under ``mg.no_grad``, its value alone."""
        with mg.enable_grad():
            x = x if isinstance(x, Tensor) and x.requires_grad else mg.tensor(x, requires_grad=True)
            h = self.encode(x)
            total = _squared_error(self.decode(h), x) + self.penalty * F.contractive_penalty(h, x)
        return total if mg.is_grad_enabled() else total.detach()
