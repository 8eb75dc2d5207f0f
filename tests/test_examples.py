"""Every example runs, and what it asserts about the notes' numbers holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import figures, worked_numbers


@pytest.mark.parametrize("name", figures.FIGURES)
def test_figure_has_the_printed_numbers_and_a_picture(name: str, tmp_path: Path) -> None:
    drawing = figures.FIGURES[name]()
    drawing.save(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert drawing.svg().count("<svg") == 1


def test_figures_command_writes_all_pictures(tmp_path: Path) -> None:
    written = figures.main(tmp_path)
    assert len(written) == 2 * len(figures.FIGURES)
    assert all(path.stat().st_size > 1000 for path in written)


def test_worked_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    worked_numbers.main()
    assert "2.0404" in capsys.readouterr().out


def test_digits_mlp_learns(tmp_path: Path) -> None:
    digits_mlp = pytest.importorskip("examples.digits_mlp", reason="needs scikit-learn: pip install 'minigrad[examples]'")
    assert digits_mlp.main(tmp_path) >= 0.97
    assert {path.name for path in tmp_path.iterdir()} == {"loss.svg", "step.svg", "step.png"}
