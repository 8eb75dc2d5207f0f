"""The other worked numbers of the notes: losses, softmax, convolution layers, matrix derivatives, regression.

Run ``python -m examples.worked_numbers``: each line prints what minigrad computes and what the notes print.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from examples.figures import close

SCORES = [[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]]


def multiclass_hinge() -> mg.Tensor:
    """The sum over j != y of max(0, 1 + a_j - a_y), for three images labelled cat, car, frog (notes 001, "Support Vector Machine")."""
    a = mg.tensor(SCORES, dtype="float64")
    right = mg.diag(a)
    margins = mg.relu(1 + a - right[:, None])
    losses = mg.sum(margins * (1 - np.eye(3)), axis=1)
    close((losses, [2.9, 0.0, 12.9]))
    close((mg.mean(losses), 5.2667), digits=4)
    return losses


def softmax_loss() -> mg.Tensor:
    """Softmax of the first image's scores, and its cross-entropy with the natural logarithm."""
    a = mg.tensor(SCORES[0], dtype="float64", requires_grad=True)
    close((mg.exp(a), [24.5, 164.0, 0.18]), digits=1)
    p = mg.softmax(a)
    close((p, [0.13, 0.87, 0.00]), digits=2)
    loss = -mg.log_softmax(a)[0]
    close((loss, 2.0404), digits=4)
    loss.backward()
    close((a.grad, p.numpy() - [1, 0, 0]))
    return loss


def convolution_layers() -> dict[str, tuple[tuple[int, ...], int]]:
    """Output shape and parameters of the layers that the notes count (001 and 002, convolution)."""
    layers = {
        "10 filters 5x5x3, pad 2, on 32x32x3": ((1, 3, 32, 32), (10, 3, 5, 5), 1, 2, (1, 10, 32, 32), 760),
        "4 filters 4x4x3 on 32x32x3": ((1, 3, 32, 32), (4, 3, 4, 4), 1, 0, (1, 4, 29, 29), 196),
        "LeNet-5 C1": ((1, 1, 32, 32), (6, 1, 5, 5), 1, 0, (1, 6, 28, 28), 156),
        "AlexNet C1": ((1, 3, 227, 227), (96, 3, 11, 11), 4, 0, (1, 96, 55, 55), 34_944),
    }
    found = {}
    for name, (image, filters, stride, padding, shape, parameters) in layers.items():
        y = mg.conv2d(mg.zeros(image), mg.zeros(filters), mg.zeros(filters[0]), stride=stride, padding=padding)
        count = int(np.prod(filters)) + filters[0]
        assert (y.shape, count) == (shape, parameters), name
        found[name] = (y.shape, count)
    assert (5 * 5 * 1 + 1) * 28 * 28 * 6 == 122_304  # connections of LeNet C1; the notes print 122,804
    assert 32 * 32 * 3 * 500 + 500 == 1_536_500
    return found


def matrix_derivatives() -> None:
    """D tr(AB)/dA = B^T; d x^T A x; the Mahalanobis distance; the softmax Jacobian (notes 001, appendix)."""
    rng = np.random.default_rng(0)
    A, B, x, z = rng.normal(size=(3, 3)), rng.normal(size=(3, 3)), rng.normal(size=3), rng.normal(size=3)
    S = A @ A.T + np.eye(3)
    close((mg.grad(lambda A: mg.trace(A @ B))(A), B.T))
    close((mg.grad(lambda x: x @ A @ x)(x), (A + A.T) @ x))
    close((mg.grad(lambda A: x @ A @ x)(A), np.outer(x, x)))
    close((mg.grad(lambda z: (x - z) @ mg.solve(mg.asarray(S), x - z))(z), -2 * np.linalg.solve(S, x - z)))
    p = mg.softmax(mg.asarray(x)).numpy()
    close((mg.jacobian(mg.softmax)(x), np.diag(p) - np.outer(p, p)))


def least_squares() -> None:
    """Least squares and ridge: where the gradient vanishes is where the normal equations say (notes 001)."""
    rng = np.random.default_rng(1)
    X, y, penalty = rng.normal(size=(20, 3)), rng.normal(size=20), 0.7
    for alpha in (0.0, penalty):
        w = np.linalg.solve(X.T @ X + alpha * np.eye(3), X.T @ y)
        at_minimum = mg.grad(lambda w, alpha=alpha: mg.sum((X @ w - y) ** 2) / 2 + alpha / 2 * mg.sum(w * w))(w)
        close((at_minimum, np.zeros(3)))


def main() -> None:
    """Check and print them all."""
    print("multiclass hinge     ", multiclass_hinge().numpy().round(4).tolist(), " notes: 2.9, 0, 12.9")
    print("softmax cross-entropy", round(softmax_loss().item(), 4), " notes: 2.0404")
    for name, (shape, parameters) in convolution_layers().items():
        print(f"{name:36s} -> {shape[2]}x{shape[3]}x{shape[1]}, {parameters:,} parameters")
    matrix_derivatives()
    least_squares()
    print("matrix derivatives and normal equations agree with the gradients")


if __name__ == "__main__":
    main()
