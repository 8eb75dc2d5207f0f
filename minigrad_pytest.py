"""The pytest plugin and the Hypothesis hook of minigrad. Nothing of minigrad is imported until a test asks for it.

Both entry points name this module, which stands outside the package: one inside would import minigrad, and NumPy with it, in
every run of pytest.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("minigrad")
    group.addoption("--minigrad-seed", type=int, default=0, metavar="N", help="what the fixture 'seeded' starts from")


def pytest_configure() -> None:
    """Tests watch shared arrays exactly (``minigrad.guarding``), unless the environment says otherwise."""
    how = os.environ.setdefault("MINIGRAD_GUARDING", "exact")
    if (guards := sys.modules.get("minigrad.guards")) is not None:
        guards.usual = how


@pytest.fixture
def seeded(request: pytest.FixtureRequest) -> Any:
    """A NumPy generator with a seed of the test's own; minigrad's random numbers start from the same seed.

    The seed depends on the test's name and on ``--minigrad-seed``, and is shown when the test fails.
    """
    import numpy as np

    import minigrad

    seed = zlib.crc32(f"{request.node.nodeid} {request.config.getoption('--minigrad-seed')}".encode())
    request.node.user_properties.append(("minigrad seed", seed))
    minigrad.manual_seed(seed)
    return np.random.default_rng(seed)


@pytest.fixture
def float64() -> Iterator[None]:
    """New tensors are float64 during the test."""
    import minigrad

    before = minigrad.get_default_dtype()
    minigrad.set_default_dtype("float64")
    yield
    minigrad.set_default_dtype(before)


@pytest.fixture
def drawings(tmp_path: Path) -> Iterator[Path]:
    """The folder, of this test alone, that drawings of failures go to."""
    from minigrad.testing.programs import folder

    token = folder.set(tmp_path)
    yield tmp_path
    folder.reset(token)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Show the seed of a failed test, the plot of its gradient, and where its graph was drawn."""
    report = yield
    if report.failed and "minigrad" in sys.modules:
        lines = [f"{name}: {value}" for name, value in item.user_properties if name.startswith("minigrad")]
        error = call.excinfo.value if call.excinfo is not None else None
        if (drawing := getattr(error, "drawing", None)) is not None:
            lines.append(f"drawing: {drawing}")
            report.user_properties.append(("minigrad drawing", str(drawing)))
        if lines:
            report.sections.append(("minigrad", "\n".join(lines)))
    return report


def pytest_collection_finish() -> None:
    register()


def register() -> None:
    """Teach Hypothesis to draw Tensors (``st.from_type``), if minigrad is there; Hypothesis calls this when it is imported."""
    if "minigrad" in sys.modules and "hypothesis" in sys.modules:
        import minigrad.testing.strategies  # noqa: F401 it registers the type
