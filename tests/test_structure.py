"""Arrows point one way: nn and viz stand on minigrad, the command line stands on all, and nothing goes round in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSES = {"minigrad": ROOT / "minigrad", "minigrad.nn": ROOT / "nn", "minigrad.viz": ROOT / "viz"}
ON_TOP = {"minigrad.cli", "minigrad.training_cli"}
"""The command line stands on top of everything, and so may import what it shows."""
LAZY = {"minigrad"}
"""``minigrad.nn`` and ``minigrad.viz`` are attributes of the package, imported when first asked for."""


def modules():
    found = {}
    for package, folder in HOUSES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((package, *parts))] = path
    return found


MODULES = modules()


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def statements(body, everywhere):
    """The statements that run at import (``everywhere``: those inside functions too), without what only type checkers read."""
    for node in body:
        if is_type_checking(node):
            yield from statements(node.orelse, everywhere)
            continue
        yield node
        if everywhere or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for name in ("body", "orelse", "finalbody"):
                yield from statements(getattr(node, name, []), everywhere)
            for handler in getattr(node, "handlers", []):
                yield from statements(handler.body, everywhere)


def imports(name, everywhere=False):
    """The modules that ``name`` imports, as absolute names; ``from package import module`` counts as the module."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in statements(ast.parse(path.read_text()).body, everywhere):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, *filter(None, [base])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in MODULES else base


def house(module):
    return next(h for h in ("minigrad.nn", "minigrad.viz", "minigrad") if module == h or module.startswith(h + "."))


@pytest.mark.parametrize("name", MODULES)
def test_arrows_point_one_way(name):
    allowed = {"minigrad", house(name)} if name not in ON_TOP else set(HOUSES)
    for target in imports(name, everywhere=True):
        assert target.split(".")[0] not in ("nn", "viz", "tests"), f"{name} imports {target}: write minigrad.{target}"
        if target.split(".")[0] == "minigrad":
            assert house(target) in allowed, f"{name} imports {target}"


@pytest.mark.parametrize("name", sorted(ON_TOP & set(MODULES)))
def test_the_command_line_imports_drawing_only_when_it_draws(name):
    assert {house(t) for t in imports(name) if t.startswith("minigrad")} <= {"minigrad"}


def test_nothing_goes_round_in_a_circle():
    graph = {name: {t for t in imports(name) if t in MODULES and t != name} for name in MODULES}
    done: set[str] = set()

    def visit(name, path):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    assert done == set(MODULES)


def test_the_engine_needs_only_numpy():
    import sys

    allowed = {"numpy", "minigrad", *sys.stdlib_module_names}
    tools = ("minigrad.testing", *ON_TOP)  # what they need beyond that is an extra, imported by those who use it
    for name in MODULES:
        if house(name) == "minigrad" and not name.startswith(tools):
            assert {t.split(".")[0] for t in imports(name)} <= allowed, name


def test_the_heart_fits_in_one_sitting():
    for name in ("minigrad.graph", "minigrad.primitive"):
        assert len(MODULES[name].read_text().splitlines()) < 450, name
