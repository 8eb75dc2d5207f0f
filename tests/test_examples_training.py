"""The teaching examples run in full, reach what they assert, and draw it; and their own arithmetic is right."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NAMES = ("digits_lenet", "two_moons", "vanishing_gradients", "initialisation", "optimizer_race", "transfer_learning")
ROOT = Path(__file__).parent.parent
REASON = "needs scikit-learn and matplotlib: pip install 'minigrad[examples]'"


def example(name: str) -> Any:
    for needed in ("sklearn", "matplotlib"):
        pytest.importorskip(needed, reason=REASON)
    return importlib.import_module(f"examples.{name}")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_example_reaches_what_it_asserts_and_draws_it(name: str, tmp_path: Path) -> None:
    example(name).main(tmp_path / "new" / f"{name}.png")
    (picture,) = (tmp_path / "new").iterdir()
    assert picture.name == f"{name}.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 150_000


@pytest.mark.parametrize("surface", ["tilted", "rosenbrock", "beale"])
def test_the_race_on_other_surfaces(surface: str, tmp_path: Path) -> None:
    assert example("optimizer_race").main(tmp_path / "race.png", surface)["L-BFGS"] < 1e-8


def test_a_tilted_ravine_is_what_adagrad_cannot_scale() -> None:
    race = example("optimizer_race")
    straight, tilted = (race.race(race.SURFACES[name], "AdaGrad", 1.0)[1][-1] for name in ("ravine", "tilted"))
    assert tilted > 100 * straight


@pytest.mark.parametrize("surface", ["ravine", "tilted", "rosenbrock", "beale"])
def test_a_race_starts_and_could_end_where_the_surface_says(surface: str) -> None:
    race = example("optimizer_race")
    land = race.SURFACES[surface]
    points, values = race.race(land, "SGD", land.rates[0])
    assert land.f(*land.minimum) == 0
    assert (values > 0).all()
    np.testing.assert_array_equal(points[0], land.start)
    assert len(points) == race.STEPS + 1


def test_the_same_seed_gives_the_same_gradients_and_another_seed_others(tmp_path: Path) -> None:
    vanishing = example("vanishing_gradients")
    first, again, other = (vanishing.main(tmp_path / "picture.png", seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_moons_lie_on_their_circles(monkeypatch: pytest.MonkeyPatch) -> None:
    two_moons = example("two_moons")
    monkeypatch.setattr(two_moons, "NOISE", 0)
    x, label = two_moons.moons(200, np.random.default_rng(0)).arrays
    centre = np.stack([label, label / 2], axis=1)
    np.testing.assert_allclose(np.linalg.norm(x - centre, axis=1), 1, rtol=1e-6)
    assert (x[label == 0, 1] >= 0).all()
    assert (x[label == 1, 1] <= 0.5).all()
    assert label.mean() == 0.5


def test_lenet_sees_digits_of_32_pixels_and_the_sets_share_none() -> None:
    lenet = example("digits_lenet")
    train, test = lenet.digits()
    assert (len(train), len(test)) == (1438, 359)
    for data in (train, test):
        images = data.arrays[0]
        assert images.shape[1:] == (1, 32, 32)
        assert images.dtype == np.float32
        np.testing.assert_allclose((images.min(), images.max()), (lenet.PAPER, lenet.INK), rtol=1e-6)
    seen = {image.tobytes() for image in train.arrays[0]}
    assert not any(image.tobytes() in seen for image in test.arrays[0])


def test_transferred_classes_are_none_of_the_old_ones() -> None:
    transfer = example("transfer_learning")
    old, new = transfer.digits()
    assert set(old.arrays[1]) == set(range(transfer.OLD))
    assert set(new.arrays[1]) == set(range(transfer.NEW))
    assert len(old) + len(new) == 1797


def test_a_picture_is_whole_or_not_there(tmp_path: Path) -> None:
    plotting = example("plotting")
    fig, _ = plotting.figure((1, 1), (2, 2), "title")
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")
    fig.savefig = lambda *args, **kwargs: (_ for _ in ()).throw(OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        plotting.save(fig, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_importing_an_example_needs_no_matplotlib(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not any(name.split(".")[0] in ("matplotlib", "PIL") for name in names)


def test_the_page_of_examples_has_them_all() -> None:
    listed = set(re.findall(r"python -m examples\.(\w+)", (ROOT / "docs" / "examples.md").read_text()))
    runnable = {path.stem for path in (ROOT / "examples").glob("*.py") if "def main(" in path.read_text()}
    assert listed == runnable
