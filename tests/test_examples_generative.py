"""The examples of generative, embedding and clustering models run in full: what each asserts of itself holds, and it draws."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'minigrad[examples]'")
pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'minigrad[examples]'")


@pytest.mark.parametrize("name", ["autoencoders", "gan_digits", "mixtures", "vae_digits", "word_vectors"])
def test_example(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "deep" / f"{name}.png"
    found = import_module(f"examples.{name}").main(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
    assert [path.name for path in picture.parent.iterdir()] == [picture.name]
    printed = capsys.readouterr().out
    assert found
    assert all(key in printed for key in found)
