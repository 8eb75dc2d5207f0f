"""The worked figures of the lecture notes, each computed, checked against the printed numbers, and drawn.

Run ``python -m examples.figures [FOLDER]``; the pictures go to ``out/figures`` unless a folder is named. The numbers are those
of notes 001, "Backpropagation" (Figures 11, 13, 14, 15, 16), "Normalization" (17), "Discussion Problems" (18), and 002 (2-2-2).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import viz


def close(*pairs: tuple[Any, Any], digits: int = 10) -> None:
    """Fail unless the two numbers or arrays of each pair agree to so many decimals."""
    for actual, expected in pairs:
        np.testing.assert_allclose(np.asarray(getattr(actual, "data", actual)), expected, rtol=0, atol=0.6 * 10.0**-digits)


def number(value: float, name: str) -> mg.Tensor:
    """A scalar input that asks for its gradient."""
    return mg.tensor(value, dtype="float64", requires_grad=True, name=name)


def figure_11() -> viz.Drawing:
    """The first example of backprop: f = (x + y) z."""
    x, y, z = number(2, "x"), number(3, "y"), number(4, "z")
    w = x + y
    f = w * z
    w.retain_grad()
    f.backward()
    close((w, 5), (f, 20))
    close((z.grad, 5), (w.grad, 4), (x.grad, 4), (y.grad, 4))
    return viz.draw(f, title="Figure 11: f = (x + y) z")


def figure_13() -> viz.Drawing:
    """The sigmoid circuit, gate by gate: 1/x at 1.37 passes -0.53, exp passes -0.20."""
    w0, x0, w1, x1, w2 = number(2, "w0"), number(-1, "x0"), number(-3, "w1"), number(-2, "x1"), number(-3, "w2")
    exponent = -(w0 * x0 + w1 * x1 + w2)
    bottom = mg.exp(exponent) + 1
    f = 1 / bottom
    close((f, 0.7310585786))
    at_bottom, at_exponent = mg.gradients(f, [bottom, exponent], retain_graph=True)
    close((bottom, 1.37), (at_bottom, -0.53), (at_exponent, -0.20), digits=2)
    f.backward()
    close((w0.grad, -0.1966119332), (x0.grad, 0.3932238665), (w1.grad, -0.3932238665))
    close((x1.grad, -0.5898357997), (w2.grad, 0.1966119332))
    return viz.draw(f, title="Figure 13: f = 1 / (1 + exp(-(w0 x0 + w1 x1 + w2)))")


def figure_14() -> viz.Drawing:
    """Converging paths: x is copied to two uses, and its gradient is the sum over both (the law of total derivatives)."""
    x = number(3, "x")
    q1 = x * x
    q2 = mg.sin(x)
    loss = q1 * q2
    loss.backward()
    close((x.grad, 2 * 3 * np.sin(3.0) + 9 * np.cos(3.0)))
    return viz.draw(loss, title="Figure 14: converging paths add up")


def figure_15() -> viz.Drawing:
    """Softplus two ways: through the graph of log(1 + exp(x)), and by the analytic derivative exp(x) / (1 + exp(x))."""
    x = number(0.5, "x")
    b = mg.exp(x)
    a = 1 + b
    y = mg.log(a)
    y.backward()
    close((x.grad, np.exp(0.5) / (1 + np.exp(0.5))))
    close((mg.grad(mg.softplus)(x.detach()), x.grad.item()))
    return viz.draw(y, title="Figure 15: softplus through its graph")


def figure_16() -> viz.Drawing:
    """A layer h = ReLU(W h_i + b): the max gate masks, the add gate distributes, matmul swaps with transposes."""
    W = mg.tensor([[0.5, -1.0, 2.0], [-1.0, 0.25, -0.5]], dtype="float64", requires_grad=True, name="W")
    h_i = mg.tensor([1.0, 2.0, 3.0], dtype="float64", requires_grad=True, name="h_i")
    b = mg.tensor([0.1, 0.2], dtype="float64", requires_grad=True, name="b")
    c = W @ h_i
    a = c + b
    h = mg.relu(a)
    upstream = np.array([1.0, 1.0])
    h.backward(upstream)
    at_a = (a.numpy() > 0) * upstream
    close((b.grad, at_a), (h_i.grad, W.numpy().T @ at_a), (W.grad, np.outer(at_a, h_i.numpy())))
    return viz.draw(h, title="Figure 16: h = ReLU(W h_i + b)")


def figure_17() -> viz.Drawing:
    """Batch normalisation of one unit over m examples, node by node, against the notes' derivation term by term."""
    values, upstream, epsilon = np.array([0.5, 1.5, -1.0, 2.0]), np.array([0.1, -0.2, 0.3, 0.4]), 1e-5
    x = mg.tensor(values, requires_grad=True, name="x")
    gamma, beta = number(1.5, "gamma"), number(0.5, "beta")
    mu = mg.mean(x)
    centred = x - mu
    variance = mg.mean(centred * centred)
    x_hat = centred / mg.sqrt(variance + epsilon)
    y = gamma * x_hat + beta
    y.backward(upstream)

    m, hat = len(values), x_hat.numpy()
    spread = np.sqrt(variance.item() + epsilon)
    to_hat = upstream * gamma.item()
    to_variance = np.sum(-0.5 * (values - values.mean()) / spread**3 * to_hat)
    to_mu = -np.sum(to_hat) / spread - to_variance * 2 / m * np.sum(values - values.mean())
    close((beta.grad, upstream.sum()), (gamma.grad, np.sum(upstream * hat)))
    close((x.grad, to_hat / spread + 2 * (values - values.mean()) / m * to_variance + to_mu / m))
    return viz.draw(y, title="Figure 17: batch normalisation of one unit")


def figure_18() -> viz.Drawing:
    """A regularised logistic unit: w is used twice, in the model and in the penalty, and both paths add up."""
    w, b = number(0.8, "w"), number(-0.3, "b")
    x, t, rate = mg.tensor(1.5, name="x", dtype="float64"), mg.tensor(1.0, name="t", dtype="float64"), 0.1
    z = w * x + b
    y = mg.sigmoid(z)
    L = (y - t) ** 2 / 2
    R = w**2 / 2
    L_reg = L + rate * R
    L_reg.backward()
    s = 1 / (1 + np.exp(-(0.8 * 1.5 - 0.3)))
    close((b.grad, (s - 1) * s * (1 - s)), (w.grad, (s - 1) * s * (1 - s) * 1.5 + rate * 0.8))
    return viz.draw(L_reg, title="Figure 18: a regularised logistic unit")


def two_by_two() -> viz.Drawing:
    """The 2-2-2 network of notes 002, with one step of gradient descent, to the printed digits.

    The notes' second hand derivation gives dE/dw1 = 0.000416 from rounded factors; the graph says 0.0004385677.
    """
    i = mg.tensor([0.05, 0.10], dtype="float64", name="i")
    W1 = mg.tensor([[0.15, 0.20], [0.25, 0.30]], dtype="float64", requires_grad=True, name="W1")
    W2 = mg.tensor([[0.40, 0.45], [0.50, 0.55]], dtype="float64", requires_grad=True, name="W2")
    b1, b2, target = 0.35, 0.60, mg.tensor([0.01, 0.99], dtype="float64", name="target")
    h = mg.sigmoid(W1 @ i + b1)
    o = mg.sigmoid(W2 @ h + b2)
    errors = (target - o) ** 2 / 2
    E = mg.sum(errors)
    E.backward()
    close((h, [0.5932699921, 0.5968843783]), (o, [0.7513650696, 0.7729284653]))
    close((errors, [0.274811083, 0.023560026]), (E, 0.298371109), digits=9)
    close((W1.grad[0, 0], 0.0004385677), (W2.grad[0, 0], 0.0821670406))
    drawing = viz.draw(E, title="The 2-2-2 network")
    with mg.no_grad():
        W1 -= 0.5 * W1.grad
        W2 -= 0.5 * W2.grad
    close((W1, [[0.1497807161, 0.1995614323], [0.2497511436, 0.2995022873]]))
    close((W2, [[0.3589164797, 0.4086661861], [0.5113012702, 0.5613701211]]))
    return drawing


FIGURES = {
    "figure_11": figure_11,
    "figure_13": figure_13,
    "figure_14": figure_14,
    "figure_15": figure_15,
    "figure_16": figure_16,
    "figure_17": figure_17,
    "figure_18": figure_18,
    "network_2_2_2": two_by_two,
}


def main(folder: str | Path = "out/figures") -> list[Path]:
    """Compute, check and draw every figure."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in FIGURES.items():
        drawing = figure()
        for suffix in ("svg", "png"):
            written.append(folder / f"{name}.{suffix}")
            drawing.save(written[-1])
        print(f"{name}: numbers agree, drawn to {written[-2]}")
    return written


if __name__ == "__main__":
    main(sys.argv[1]) if sys.argv[1:] else main()
