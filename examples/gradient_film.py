"""A gradient that learns to flow: a GRU is to remember the first symbol of a sequence, and a film records its training.

The loss is read off after 30 steps. With the gates half open, as initialised, a millionth of the gradient that the last step gets arrives
at the first, and the loss stands at log 4, which is guessing. A bias of 1.5 on the update gate opens it to 0.82 (as Gers et al. 2000
did for the LSTM), and a hundredth arrives. That is enough to begin with: the gates open further, the gradient works its way back
through time, and when it has arrived the loss falls (notes 001, "Long Short-Term Memory"; 004, November 4th).

Run ``python -m examples.gradient_film``: ten seconds; out/gradient_film.html, to be opened in a browser, and out/gradient_film.png.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import minigrad as mg
from examples.plotting import save
from minigrad import nn, optim, viz

STEPS, SYMBOLS, HIDDEN, BATCH, OPEN = 30, 4, 24, 32, 1.5


class Memory(nn.Module):
    """Reads a sequence, and says at its end which symbol it began with."""

    def __init__(self, bias: float) -> None:
        self.read, self.answer = nn.GRU(SYMBOLS, HIDDEN), nn.Linear(HIDDEN, SYMBOLS)
        with mg.no_grad():
            self.read.get_parameter("bias_hh_l0")[HIDDEN : 2 * HIDDEN] += bias  # the update gate's

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        output, _ = self.read(x)
        return self.answer(output[-1])


def sequences(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One-hot sequences (STEPS, BATCH, SYMBOLS), and their first symbols."""
    symbols = rng.integers(SYMBOLS, size=(STEPS, BATCH))
    return np.eye(SYMBOLS, dtype="float32")[symbols], symbols[0]


def train(bias: float, steps: int, seed: int) -> viz.Film:
    """The film of a training."""
    mg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Memory(bias)
    film, optimizer = viz.Film(model, every=2), optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        x, first = sequences(rng)
        loss = nn.functional.cross_entropy(model(mg.asarray(x)), first)
        optimizer.zero_grad()
        loss.backward()
        film.record(loss)
        optimizer.step()
    film.close()
    return film


def reach(film: viz.Film) -> np.ndarray:
    """At each training step, the gradient at the first time step as a share of the last one's."""
    through = film.layer("read").gradient
    return np.asarray(through[:, 0] / through[:, -1])


def main(path: str | Path = "out/gradient_film.png", seed: int = 0, page: str | Path | None = None) -> dict[str, float]:
    """Train, check, draw, and write a ``page``; return what was found."""
    found = {}
    for name, bias in (("half open", 0.0), ("open", OPEN)):
        film = train(bias, 400, seed)
        found[f"{name}: loss"] = float(film.loss[-20:].mean())
        found[f"{name}: reach at first"] = float(np.median(reach(film)[:20]))
        found[f"{name}: reach at last"] = float(np.median(reach(film)[-20:]))
        print(f"gate {name}\n{film.table()}\n")
    for name, value in found.items():
        print(f"{name:26s} {value:.2g}")
    assert found["half open: reach at last"] < 1e-3, "the gradient got through gates that are half open"
    assert found["half open: loss"] > 1.3, "something was learned without a gradient"
    assert found["open: reach at first"] < 0.1 < found["open: reach at last"], "the gradient did not work its way back"
    assert found["open: loss"] < 0.5, f"the loss is {found['open: loss']:.2g}: the first symbol is not remembered"
    title = "A GRU learns to remember its first symbol: the gradient works its way back through time"
    save(film.draw(step=int(np.argmax(reach(film) > 0.1)), title=title).figure(), path)
    if page is not None:
        film.save(page, title)
    return found


if __name__ == "__main__":
    main(page="out/gradient_film.html")
