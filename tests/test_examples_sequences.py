"""The examples of sequence models run in full, reach what they promise, and draw it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REASON = "needs matplotlib: pip install 'minigrad[examples]'"


def example(name: str) -> Any:
    pytest.importorskip("matplotlib", reason=REASON)
    return importlib.import_module(f"examples.{name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "promised"), [("char_gru", 2.6), ("sort_transformer", 0.99), ("seq2seq_attention", 0.97)]
)  # fmt: skip
def test_example_reaches_what_it_promises(
    name: str, promised: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reached = example(name).main(tmp_path / f"{name}.png")
    assert reached <= promised if name == "char_gru" else promised <= reached <= 1
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.png"]
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert {"char_gru": "alice was ", "sort_transformer": "new sequences", "seq2seq_attention": "new dates"}[
        name
    ] in capsys.readouterr().out


def test_the_tables_that_the_gru_is_measured_against() -> None:
    char_gru = example("char_gru")
    a, b = char_gru.read("ab")
    letters = len(char_gru.LETTERS)
    text = np.array([a, b] * 500)
    single, pair = char_gru.tables(text, text)
    share = (500 + 0.1) / (1000 + 0.1 * letters)
    assert single == pytest.approx(-np.log2(share))
    known = [(500 + 0.1) / (500 + 0.1 * letters), (499 + 0.1) / (499 + 0.1 * letters)]
    assert pair == pytest.approx(-(500 * np.log2(known[0]) + 499 * np.log2(known[1])) / 999)
    assert 30_000 < len(char_gru.TEXT) < 60_000


def test_what_there_is_to_sort() -> None:
    sort = example("sort_transformer")
    digits, wanted = sort.sequences(np.random.default_rng(0), 200)
    lengths = (digits != sort.PAD).sum(1)
    assert set(lengths) == set(range(3, 11))
    for row, out, n in zip(digits.tolist(), wanted.tolist(), lengths):
        assert out == [*sorted(row[:n]), sort.END, *[sort.PAD] * (10 - n)]


def test_dates_are_all_different_and_right() -> None:
    dates = example("seq2seq_attention")
    said, wanted = dates.dates(np.random.default_rng(0), 5000)
    assert len(set(wanted)) == 5000  # so those of the test are new
    for form, date in zip(said, wanted):
        year, month, day = date.split("-")
        name = dates.MONTHS[int(month) - 1]
        assert form in {f"{int(day)} {m} {year}" for m in (name, name[:3])} | {
            f"{m} {int(day)}, {year}" for m in (name, name[:3])
        }
    assert {date[:2] for date in wanted} == {"19", "20"}
