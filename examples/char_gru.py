"""A GRU reads the first chapters of "Alice" letter by letter, guesses each next letter, and then writes on its own.

What is learned: p(next letter | all letters so far), in bits per letter on the last tenth of the text, which it never sees in
training. A table of letters needs 4.2 bits, one of pairs of letters 3.3: the state h remembers more than one letter (notes 001,
"Recurrent Neural Networks"). Training is truncated backpropagation through time with clipped gradients: 16 streams of text are
read 32 letters at a time, the state is handed on, its history is cut off. Run ``python -m examples.char_gru``: 25 seconds;
out/char_gru.png shows the loss beside the tables', and what each letter of a piece of unseen text costs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from examples.plotting import BLUE, GREY, ORANGE, RED, figure, save
from minigrad import nn, optim
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.models import CharRNN

TEXT = (Path(__file__).parent / "data" / "alice.txt").read_text().lower().replace("\n", " ")
LETTERS = sorted(set(TEXT))
HIDDEN, STREAMS, WINDOW, EPOCHS, RATE = 128, 16, 32, 10, 5e-3


def read(text: str) -> Any:
    return np.array([LETTERS.index(letter) for letter in text])


def tables(train: Any, test: Any) -> tuple[float, float]:
    """Bits per letter of two tables of frequencies: of letters, and of letters after each letter."""
    single, pair = np.full(len(LETTERS), 0.1), np.full((len(LETTERS), len(LETTERS)), 0.1)  # 0.1: the best of four for the pairs
    np.add.at(single, train, 1)
    np.add.at(pair, (train[:-1], train[1:]), 1)
    before, after = test[:-1], test[1:]
    return (
        float(-np.log2(single[after] / single.sum()).mean()),
        float(-np.log2(pair[before, after] / pair.sum(1)[before]).mean()),
    )


def cost(logits: Any, letters: Any) -> Any:
    """The mean of -log p(letter)."""
    return F.cross_entropy(logits.reshape((-1, len(LETTERS))), letters.reshape(-1))


def bits(model: CharRNN, text: Any) -> Any:
    """What each letter but the first costs: -log2 p(letter | those before)."""
    model.eval()
    with mg.no_grad():
        logits, _ = model(mg.asarray(text[:-1]))
        return F.cross_entropy(logits, text[1:], reduction="none").numpy() / np.log(2)


def main(path: str | Path = "out/char_gru.png", seed: int = 0) -> float:
    """Train, write, draw; return bits per letter of unseen text."""
    mg.manual_seed(seed)
    train, test = np.split(read(TEXT), [len(TEXT) * 9 // 10])
    single, pair = tables(train, test)
    length = (len(train) - 1) // STREAMS
    x, y = (train[i : i + STREAMS * length].reshape(STREAMS, length) for i in (0, 1))

    model = CharRNN(len(LETTERS), HIDDEN, kind="gru", dropout=0.2)
    optimizer = optim.Adam(model.parameters(), lr=RATE)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    trained: list[float] = []
    tests: list[float] = []
    for epoch in range(1, EPOCHS + 1):
        model.train()
        loss, _ = nn.tbptt(model, x, y, loss=cost, optimizer=optimizer, length=WINDOW, clip_norm=1.0, axis=1)
        scheduler.step()
        trained.append(loss / np.log(2))
        tests.append(float(bits(model, test).mean()))
        print(f"epoch {epoch}: {tests[-1]:.3f} bits per letter of unseen text; letters {single:.3f}, pairs {pair:.3f}")

    written = model.generate(read("alice was "), 200, temperature=0.6, seed=seed)
    print("".join(LETTERS[i] for i in written.tolist()))
    save(picture(trained, tests, single, pair, TEXT[-len(test) :], bits(model, test)), path)
    assert tests[-1] < 2.6 < pair - 0.5, f"{tests[-1]:.3f} bits per letter: expected below 2.6"
    return tests[-1]


def picture(trained: list[float], tests: list[float], single: float, pair: float, text: str, surprise: Any) -> Any:
    """The loss beside what tables reach, and a piece of unseen text: the darker a letter, the less it was expected."""
    fig, (left, right) = figure((1, 2), (12, 4), "A GRU learns to guess the next letter", width_ratios=[2, 3])
    epochs = range(1, len(tests) + 1)
    left.plot(epochs, trained, "o-", color=BLUE, label="training, with dropout")
    left.plot(epochs, tests, "o-", color=RED, label="unseen text")
    for level, name in ((single, "table of letters"), (pair, "table of pairs of letters")):
        left.axhline(level, color=ORANGE, linestyle="--", linewidth=1.2)
        left.text(len(tests), level + 0.04, name, ha="right", fontsize=8, color="#555555")
    left.set(xlabel="epoch", ylabel="bits per letter", ylim=(1.8, 4.5))
    left.legend(frameon=False, fontsize=8, loc="upper right", bbox_to_anchor=(1.0, 0.86))
    start = text.index(". ") + 2
    rows, columns = 12, 50
    for i in range(rows * columns):
        row, column = divmod(i, columns)
        right.text(column, row, text[start + i], ha="center", va="center", family="monospace", fontsize=10)
    seen = surprise[start - 1 : start - 1 + rows * columns].reshape(rows, columns)
    shown = right.imshow(seen, cmap="Oranges", vmin=0, vmax=14, aspect="auto")
    right.set(xticks=[], yticks=[], title="how many bits each letter of unseen text costs")
    right.spines[:].set_color(GREY)
    fig.colorbar(shown, ax=right, shrink=0.8).set_label("bits", fontsize=8)
    return fig


if __name__ == "__main__":
    main(sys.argv[1]) if sys.argv[1:] else main()
