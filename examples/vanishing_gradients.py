"""Where gradients vanish: through 30 layers, and through 100 time steps; and which designs let them pass.

Going back through a layer multiplies the gradient by a Jacobian. A sigmoid's slope is at most 1/4, so 30 of them leave nothing for the
first layer. He's initialisation keeps the length on average, batch normalisation restores it at each layer, and a residual layer
``h + F(h)`` has the identity in its Jacobian (notes 001, "Weight Initialization", "Normalization", "ResNet").

A recurrent network multiplies by the same W each step: below 1 the gradient vanishes, above 1 it explodes. LSTM and GRU multiply by a
gate instead (notes 001, "Long Short-Term Memory"; notes 004, November 4th). It is the gate that does it, not the name: as initialised,
it is half open, 0.5^100 = 8e-31, and the gradient is gone all the same; a bias of 4 opens it to 0.98 (Gers et al. 2000 did so first).

Run ``python -m examples.vanishing_gradients``: no training, one backward pass of each network; out/vanishing_gradients.png.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from examples.plotting import GREY, PALETTE, figure, save
from minigrad import nn

DEPTH, WIDTH, STEPS, HIDDEN, BATCH = 30, 64, 100, 32, 32


class Residual(nn.Module):
    """``h + W2 relu(norm(h))``: the gradient has a path around every layer (He et al. 2016)."""

    def __init__(self) -> None:
        self.norm, self.linear = nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, h: mg.Tensor) -> mg.Tensor:
        return h + self.linear(mg.relu(self.norm(h)))


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Sigmoid()),
    "ReLU, He's initialisation": lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()),
    "sigmoid, batch norm": lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Sigmoid()),
    "residual": Residual,
}
RECURRENT: dict[str, tuple[Callable[[], Any], float, float]] = {  # with what W_hh is multiplied, and the gate's bias
    "RNN, tanh": (lambda: nn.RNN(8, HIDDEN), 1.0, 0.0),
    "RNN, ReLU, W times 3": (lambda: nn.RNN(8, HIDDEN, nonlinearity="relu"), 3.0, 0.0),
    "LSTM, gate half open": (lambda: nn.LSTM(8, HIDDEN), 1.0, 0.0),
    "LSTM, gate open": (lambda: nn.LSTM(8, HIDDEN), 1.0, 4.0),
    "GRU, gate half open": (lambda: nn.GRU(8, HIDDEN), 1.0, 0.0),
    "GRU, gate open": (lambda: nn.GRU(8, HIDDEN), 1.0, 4.0),
}


def through_layers(layer: Callable[[], nn.Module], rng: np.random.Generator) -> np.ndarray:
    """The norm of dL/dW of each layer, from the first to the last."""
    model = nn.Sequential(*(layer() for _ in range(DEPTH))).double()
    weights = [p for p in model.parameters() if p.ndim == 2]
    for W in weights:
        nn.init.kaiming_normal_(W, nonlinearity="relu")
    x, target = rng.normal(size=(2, BATCH, WIDTH))
    nn.functional.mse_loss(model(mg.asarray(x)), target).backward()
    return np.array([np.linalg.norm(W.grad.numpy()) for W in weights])


def through_time(cell: Callable[[], Any], scale: float, bias: float, rng: np.random.Generator) -> np.ndarray:
    """The norm of dL/dx_t at each step, for a loss that reads the last step's output only."""
    model = cell().double()
    with mg.no_grad():
        model.weight_hh_l0 *= scale
        model.bias_hh_l0[HIDDEN : 2 * HIDDEN] += bias  # the LSTM's forget, the GRU's update gate; an RNN has none
    x = mg.tensor(rng.normal(size=(STEPS, BATCH, 8)), requires_grad=True)
    output, _ = model(x)
    mg.mean(output[-1] ** 2).backward()
    return np.linalg.norm(x.grad.numpy(), axis=(1, 2))


def picture(layers: dict[str, np.ndarray], steps: dict[str, np.ndarray], path: str | Path) -> None:
    """Gradient norms relative to the last, by layer and by time step."""
    title = "Gradients vanish or explode with depth and time, unless something keeps each factor near 1"
    fig, axes = figure((1, 2), (12, 4.6), title)
    for ax, curves, label in zip(axes, (layers, steps), ("layer", "time step")):
        kinds = list(dict.fromkeys(name.partition(", gate")[0] for name in curves))
        for name, norms in curves.items():
            kind = kinds.index(name.partition(", gate")[0])
            line = (6 * kind, (5, 5)) if "half" in name else "-"
            ax.plot(
                np.arange(1, len(norms) + 1), norms / norms[-1], color=PALETTE[kind], linestyle=line, label=name, linewidth=2
            )
        ax.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
        ax.set(yscale="log", xlabel=label)
        ax.legend(frameon=False, fontsize=8, handlelength=3)
    axes[0].set_ylabel("norm of dL/dW, relative to the last layer's")
    axes[1].set_ylabel("norm of dL/dx, relative to the last step's")
    save(fig, path)


def main(path: str | Path = "out/vanishing_gradients.png", seed: int = 0) -> dict[str, float]:
    """Measure, check, draw; return by how much each gradient grew from the last layer or step to the first."""
    mg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    layers = {name: through_layers(layer, rng) for name, layer in LAYERS.items()}
    steps = {name: through_time(*how, rng) for name, how in RECURRENT.items()}
    growth = {name: float(norms[0] / norms[-1]) for name, norms in {**layers, **steps}.items()}
    for name, factor in growth.items():
        print(f"{name:26s} first / last = {factor:.1e}")
    for name in ("sigmoid", "RNN, tanh", "LSTM, gate half open", "GRU, gate half open"):
        assert growth[name] < 1e-6, f"{name}: the first gradient is {growth[name]:.1e} of the last, not below 1e-6"
    for name in (*list(LAYERS)[1:], "LSTM, gate open", "GRU, gate open"):
        assert 0.05 < growth[name] < 10, f"{name}: the first gradient is {growth[name]:.1e} of the last, not within 0.05 to 10"
    assert growth["RNN, ReLU, W times 3"] > 1e3, f"no explosion: {growth['RNN, ReLU, W times 3']:.1e}"
    picture(layers, steps, path)
    return growth


if __name__ == "__main__":
    main()
