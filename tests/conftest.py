"""How the tests run: Hypothesis without deadlines (machines differ), the same examples every time under CI."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("minigrad", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI")))
settings.load_profile("minigrad")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--overwrite", action="store_true", help="write golden files anew instead of comparing with them")


@pytest.fixture
def overwrite(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--overwrite"))
