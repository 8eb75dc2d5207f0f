"""The documentation tells the truth: every snippet runs, every public name is documented, generated pages are up to date."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

import minigrad as mg
from docs import make

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PACKAGES = ["minigrad", "minigrad.nn", "minigrad.viz"]


def modules() -> list[ModuleType]:
    found = {}
    for name in PACKAGES:
        package = importlib.import_module(name)
        found[name] = package
        for info in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not info.name.endswith("__main__"):
                found[info.name] = importlib.import_module(info.name)
    return list(found.values())


def snippets(page: Path, language: str) -> list[str]:
    return [
        inspect.cleandoc(" " * len(indent) + text)
        for indent, text in re.findall(rf"^( *)```{language}\n(.*?)^ *```", page.read_text(), flags=re.M | re.S)
    ]


@pytest.mark.parametrize(
    ("page", "code"),
    [pytest.param(p, c, id=f"{p.name}-{i}") for p in PAGES for i, c in enumerate(snippets(p, "python"))],
)
def test_python_snippet_runs(page: Path, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, f"{page.name} snippet", "exec"), {"__name__": "snippet"})


def test_the_first_readme_command_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from minigrad.cli import main

    first, second = snippets(ROOT / "README.md", "bash")
    monkeypatch.chdir(tmp_path)
    calls = [shlex.split(part)[1:] for part in first.split("&&") if ".venv/bin/minigrad" in part]
    assert [main(call) for call in calls] == [0, 0]
    assert (tmp_path / "graph.svg").stat().st_size > 1000
    assert "0.7310585786" in capsys.readouterr().out
    assert second.strip().endswith("-m pytest -n auto")


@pytest.mark.parametrize("module", modules(), ids=lambda m: m.__name__)
def test_docstring_examples(module: ModuleType) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    # In minigrad's own namespace, round and sum are not Python's.
    tests = doctest.DocTestFinder(exclude_empty=True).find(module, globs={} if module is mg else None)
    runner = doctest.DocTestRunner(optionflags=flags)
    for test in tests:
        runner.run(test)
    assert runner.failures == 0


def public() -> dict[str, object]:
    return {
        name: value
        for name, value in vars(mg).items()
        if not name.startswith("_") and not inspect.ismodule(value) and (callable(value) or inspect.isclass(value))
    }


@pytest.mark.parametrize("name", sorted(public()))
def test_every_public_name_is_documented(name: str) -> None:
    assert len((inspect.getdoc(public()[name]) or "").split()) >= 3, f"mg.{name} has no docstring"


def test_the_page_of_operations_is_up_to_date() -> None:
    assert (ROOT / "docs" / "ops.md").read_text() == make.ops_page(), "run: python -m docs.make"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_the_changelog_has_this_version() -> None:
    assert f"## {mg.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f'version = "{mg.__version__}"' in (ROOT / "pyproject.toml").read_text()
