"""Two recurrent networks with attention between them rewrite dates: "july 20, 1969", "20 jul 1969" to "1969-07-20".

What is learned: alignment. The encoder reads letter by letter in both directions; for every letter that it writes, the decoder
weighs all places of what was read anew (notes 000, "Transformers": the context of a fixed length is a bottleneck). Nobody tells
it that years come last here and first there: the picture shows that it found out. Training feeds the right letters (teacher
forcing), testing its own: at least 97 % of 500 new dates come out right. Run ``python -m examples.seq2seq_attention``: 25 seconds;
out/seq2seq_attention.png.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from examples.plotting import figure, save
from minigrad import nn, optim
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.models import Seq2Seq

PAD, START, END = 0, 1, 2
LETTERS = "_<> ,-0123456789abcdefghijklmnopqrstuvwxyz"
MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
)  # fmt: skip
FORMS = ("{day} {month} {year}", "{month} {day}, {year}", "{day} {month:.3} {year}", "{month:.3} {day}, {year}")
HIDDEN, EMBEDDING, EXAMPLES, EPOCHS, BATCH, RATE = 64, 16, 6_400, 3, 64, 8e-3


def spell(texts: list[str]) -> Any:
    """Letters as numbers (count, longest), padded at the end."""
    longest = max(map(len, texts))
    return np.array([[LETTERS.index(letter) for letter in text.ljust(longest, LETTERS[PAD])] for text in texts])


def dates(rng: np.random.Generator, count: int) -> tuple[list[str], list[str]]:
    """Dates from 1900 to 2099, all different, as people write them, and as machines do."""
    first, days = datetime.date(1900, 1, 1), rng.choice(73_049, count, replace=False)
    chosen = [first + datetime.timedelta(days=int(day)) for day in days]
    forms = [FORMS[i] for i in rng.integers(0, len(FORMS), count)]
    said = [form.format(day=d.day, month=MONTHS[d.month - 1], year=d.year) for form, d in zip(forms, chosen)]
    return said, [d.isoformat() for d in chosen]


def cost(logits: Any, letters: Any) -> Any:
    """The mean of -log p(letter)."""
    return F.cross_entropy(logits.reshape((-1, len(LETTERS))), letters.reshape(-1))


def write(model: Seq2Seq, said: list[str]) -> list[str]:
    written = model.greedy(mg.asarray(spell(said)), START, END, max_length=12).tolist()
    return ["".join(LETTERS[i] for i in row).partition(LETTERS[END])[0] for row in written]


def main(path: str | Path = "out/seq2seq_attention.png", seed: int = 0) -> float:
    """Train, test, draw; return how many of 500 new dates come out right."""
    mg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Seq2Seq(len(LETTERS), len(LETTERS), EMBEDDING, HIDDEN, padding_idx=PAD)
    optimizer = optim.Adam(model.parameters(), lr=RATE)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, RATE, EPOCHS * EXAMPLES // BATCH)
    said, wanted = dates(rng, EXAMPLES + 500)
    source, target = spell(said[:EXAMPLES]), spell([f"<{date}>" for date in wanted[:EXAMPLES]])
    history = nn.fit(
        model, (source, target[:, :-1], target[:, 1:]), loss=cost, optimizer=optimizer, epochs=EPOCHS, batch_size=BATCH,
        scheduler=scheduler, scheduler_per="batch", clip_norm=1.0, seed=seed,
    )  # fmt: skip
    print("loss by epoch:", *(f"{loss:.4f}" for loss in history.loss))

    said, wanted = said[EXAMPLES:], wanted[EXAMPLES:]
    right = float(np.mean([a == b for a, b in zip(write(model, said), wanted)]))
    print(f"{right:.2%} of 500 new dates right; {said[0]!r} -> {write(model, said[:1])[0]!r}")
    save(picture(model, ["july 20, 1969", "29 february 2024"]), path)
    assert right >= 0.97, f"{right:.2%} right: expected at least 97 %"
    return right


def picture(model: Seq2Seq, examples: list[str]) -> Any:
    """Which letters it looked at (columns) as it wrote each of its own (rows)."""
    widths = [len(said) for said in examples]
    fig, axes = figure(
        (1, len(examples)), (12, 4.6), "Rewriting dates: where the decoder looks as it writes", width_ratios=widths
    )
    for ax, said in zip(axes, examples):
        target = write(model, [said])[0]
        with mg.no_grad():
            _, weights = model(mg.asarray(spell([said])), mg.asarray(spell([LETTERS[START] + target])), need_weights=True)
        shown = ax.imshow(weights.numpy()[0, :-1], cmap="Blues", vmin=0, vmax=1)
        ax.set(
            xticks=range(len(said)), yticks=range(len(target)), title=f"{said}   to   {target}", xlabel="reads", ylabel="writes"
        )
        for labels, text in ((ax.set_xticklabels, said), (ax.set_yticklabels, target)):
            labels(["\u2423" if letter == " " else letter for letter in text], family="monospace", fontsize=11)
        ax.tick_params(length=0)
    fig.colorbar(shown, ax=axes, shrink=0.7).set_label("attention weight", fontsize=8)
    return fig


if __name__ == "__main__":
    main(sys.argv[1]) if sys.argv[1:] else main()
