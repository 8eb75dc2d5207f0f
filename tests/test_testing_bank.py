"""The bank of rules: what check_grads makes of a sample of it, and that the published table is of this bank."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from minigrad.testing import bank

PAGE = Path(__file__).parent.parent / "docs" / "testing.md"
KNOWN = {("spike", "float16", "in its own dtype only")}
"""Misses: the gradient overflows its dtype, and so does twice the gradient."""


@pytest.mark.parametrize("kind", ["smooth", "kinky", "stiff"])
def test_sample_of_the_bank(kind: str) -> None:
    cases = [case for case in bank.cases() if case.kind == kind]
    results = list(bank.judged(iter(cases[::5])))
    failed = {(c.rule, c.dtype, c.mistake): str(report) for c, report, good in results if not good}
    assert set(failed) <= KNOWN, failed
    assert {bool(case.mistake) for case, *_ in results} == {True, False}
    assert {case.dtype for case, *_ in results} == set(bank.DTYPES)


def test_the_bank_is_large_and_the_same_every_time() -> None:
    first, second = list(bank.cases()), list(bank.cases())
    assert len(first) >= 300
    assert [case[:5] for case in first] == [case[:5] for case in second]
    assert all((a == b).all() for x, y in zip(first, second) for a, b in zip(x.args, y.args))


def test_the_published_table_is_of_this_bank() -> None:
    total = re.search(r"^\| all \| all \| (\d+) \| (\d+) \| (\d+) \| (\d+)", PAGE.read_text(), flags=re.M)
    assert total is not None
    cases = list(bank.cases())
    right, false_alarms, wrong, misses = map(int, total.groups())
    assert (right, wrong) == (sum(not c.mistake for c in cases), sum(bool(c.mistake) for c in cases))
    assert (false_alarms, misses) == (0, len(KNOWN)), "run: python -m minigrad.testing.bank --write docs/testing.md"


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    some = list(itertools.islice(bank.cases(), 12))
    monkeypatch.setattr(bank, "cases", lambda: iter(some))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bank -->\nold\n<!-- end -->\nafter\n")
    assert bank.main(["--write", str(page)]) == 0
    assert page.read_text().splitlines()[0] == "before"
    assert page.read_text().splitlines()[-1] == "after"
    assert "| smooth | float64 | 1 | 0 | 9 | 0 |" in page.read_text()
    assert "old" not in page.read_text()
    spoilt: Any = some[0]._replace(f=some[1].f)
    monkeypatch.setattr(bank, "cases", lambda: iter([spoilt, some[1]._replace(f=some[0].f)]))
    assert bank.main([]) == 1
    told = capsys.readouterr().out
    assert "false alarm: square, float64, away" in told
    assert "miss: square, float64, away, sign" in told
