"""Which functions are gradient rules, and how a rewritten one takes the place of the original in this process.

Rules are found where they end up: in the rows of operations that exist once the tests are loaded, however they were declared. Their
source is found by the positions that their code carries, and a rewritten rule is put in place by giving the living function objects
its code: whatever refers to the function, a row, a partial or a decorator, then runs the rewritten one.
"""

from __future__ import annotations

import ast
import functools
import gc
import hashlib
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from minigrad.graph import passes
from minigrad.primitive import Op
from minigrad.testing.mutate.operators import Edit, Function, Role, edits, placed

ENGINE = {"minigrad/graph.py": ("fit", "pull_back"), "minigrad/masks.py": ("spare", "reach")}
"""What every gradient passes through: undoing broadcasting, accumulating, untaken branches."""
_NESTED = (ast.Lambda, ast.FunctionDef)
Key = tuple[Any, ...]


def key(code: CodeType) -> Key:
    """What tells a function of a file from all others: its name, and where its instructions stand in the source."""
    return code.co_name, code.co_firstlineno, tuple(code.co_positions())


@functools.cache
def _tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text())


def _code_name(node: Function) -> str:
    return node.name if isinstance(node, ast.FunctionDef) else "<lambda>"


def _compiled(node: Function, free: tuple[str, ...], path: str) -> CodeType:
    """The code of one function on its own; ``free`` are the variables that it takes from functions around it."""
    nothing = ast.arguments([], [], None, [], [], None, [])
    body: list[ast.stmt] = [ast.Assign([ast.Name(name, ast.Store())], ast.Constant(None)) for name in free]
    body.append(node if isinstance(node, ast.FunctionDef) else ast.Expr(node))
    outer = ast.FunctionDef("outer", nothing, body, [])
    # A method is called by other instructions on a name that the module imports.
    imports = [line for line in _tree(path).body if isinstance(line, (ast.Import, ast.ImportFrom))]
    future = [line for line in imports if isinstance(line, ast.ImportFrom) and line.module == "__future__"]
    others = [line for line in imports if line not in future]
    module = compile(ast.Module([*future, *others, placed(outer, node)], []), path, "exec", dont_inherit=True)  # type: ignore[list-item]
    scope = next(c for c in module.co_consts if isinstance(c, CodeType))
    return next(c for c in reversed(scope.co_consts) if isinstance(c, CodeType) and c.co_name == _code_name(node))


def _graft(code: CodeType, where: Key, new: CodeType) -> CodeType:
    """``code``, with the function ``where``, itself or one defined inside it, replaced."""
    if key(code) == where:
        return new.replace(co_qualname=code.co_qualname)
    consts = tuple(_graft(c, where, new) if isinstance(c, CodeType) else c for c in code.co_consts)
    same = all(a is b for a, b in zip(consts, code.co_consts))
    return code if same else code.replace(co_consts=consts)


def _inside(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _inside(const)


class Living:
    """The functions of this process, by the file that they come from."""

    def __init__(self, files: Collection[str]) -> None:
        self.functions: dict[str, list[FunctionType]] = {path: [] for path in files}
        for f in gc.get_objects():
            if type(f) is FunctionType and f.__code__.co_filename in self.functions:
                self.functions[f.__code__.co_filename].append(f)

    def holding(self, path: str, where: Key) -> list[FunctionType]:
        """The functions that are the one at ``where``, or define it when they run."""
        return [f for f in self.functions[path] if any(key(c) == where for c in _inside(f.__code__))]


class Target:
    """A function to make mistakes in.

    Attributes:
        label: whose rule it is, such as ``multiply, operand a``.
        op: an operation that it belongs to; None for helpers and the engine.
        bound: how many arguments come before the upstream gradient.
        callers: the rules through which it works: itself, or those that call a helper.
        functions: the living functions that are it, or define it when they run; ``own`` those that are it.
    """

    def __init__(self, path: str, node: Function, living: Living) -> None:
        self.path, self.node = path, node
        self.label, self.kind, self.role = "", "helper", Role()
        self.op: Op | None = None
        self.bound = 0
        self.callers: list[Target] = [self]
        self.functions: list[FunctionType] = []
        found = next((c for f in living.functions[path] for c in _inside(f.__code__) if self._is(c)), None)
        if found is not None:
            self.free, self.where = found.co_freevars, key(found)
            self.functions = living.holding(path, self.where)
        self.originals = [f.__code__ for f in self.functions]
        self.own = [f for f in self.functions if key(f.__code__) == self.where]

    def _is(self, code: CodeType) -> bool:
        node = self.node
        decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
        if code.co_name != _code_name(node) or code.co_firstlineno != (decorators[0] if decorators else node).lineno:
            return False
        return key(_compiled(node, code.co_freevars, self.path)) == key(code)

    @property
    def name(self) -> str:
        return _code_name(self.node)

    @property
    def names(self) -> list[str]:
        """Of the arguments."""
        return [a.arg for a in [*self.node.args.posonlyargs, *self.node.args.args]]

    def code(self) -> CodeType:
        """Of the node as it is now; it refers to the same outer variables even where the edit dropped one."""
        node, names = self.node, [ast.Name(name, ast.Load()) for name in self.free]
        if names and isinstance(node, ast.Lambda):
            node = ast.Lambda(node.args, ast.IfExp(ast.Constant(True), node.body, ast.Tuple(names, ast.Load())))  # type: ignore[arg-type]
        elif names and isinstance(node, ast.FunctionDef):
            never = ast.If(ast.Constant(False), [ast.Expr(name) for name in names], [])
            node = ast.FunctionDef(node.name, node.args, [*node.body, never], node.decorator_list, node.returns)
        return _compiled(placed(node, self.node), self.free, self.path)  # type: ignore[arg-type]

    def load(self) -> None:
        """Let every living function run the node as it is now."""
        new = self.code()
        for f in self.functions:
            f.__code__ = _graft(f.__code__, self.where, new)

    def restore(self) -> None:
        for f, code in zip(self.functions, self.originals):
            f.__code__ = code

    def edits(self) -> list[Edit]:
        return [edit for edit in edits(self.node, self.role) if edit.operator != "function" or self._exists(edit.new)]

    def _exists(self, call: Any) -> bool:
        space = self.functions[0].__globals__
        if isinstance(call.func, ast.Name):
            return call.func.id in space
        owner = call.func.value
        owner = space.get(owner.id) if isinstance(owner, ast.Name) else None
        return owner is not None and hasattr(owner, call.func.attr)


@dataclass
class Row:
    """A rule that a row of the table names, such as one that many rows share: its result is spoilt for this row alone."""

    path: str
    op: Op
    i: int
    node: ast.expr
    label: str
    shared: bool
    kind: str = "rule"
    bound: int = 0

    @property
    def names(self) -> list[str]:
        return ["g", "y", *map(_letter, range(len(self.op.rules)))]

    def rule(self, mistake: str) -> Callable[..., Any]:
        own = self.op.rules[self.i]
        if mistake == "swapped":
            return self.op.rules[1 - self.i]  # type: ignore[return-value]
        return lambda *args: -own(*args) if mistake == "sign" else 2 * own(*args)  # type: ignore[misc]

    def load(self, rule: Callable[..., Any]) -> None:
        """Let the row run ``rule`` for this operand."""
        self.op.pulls = tuple((k, rule if k == self.i else old) for k, old in self.op.pulls)

    def mistakes(self) -> Iterator[tuple[str, str]]:
        text = ast.unparse(self.node)
        if self.shared:
            yield "sign", f"-{text}"
            yield "factor", f"2 * {text}"
        rules = self.op.rules
        if len(rules) == 2 and rules[1 - self.i] is not None and rules[0] is not rules[1]:
            yield "swapped", "the rule of the other operand"


@dataclass
class Mutant:
    """One mistake in one target."""

    target: Target | Row
    operator: str
    line: int
    old: str
    new: str
    edit: Edit | None
    id: str = ""

    def place(self, root: Path) -> str:
        path = Path(self.target.path)
        return f"{path.relative_to(root) if path.is_relative_to(root) else path}:{self.line}"


def _underlying(f: Any) -> tuple[FunctionType | None, int]:
    """The plain function under partials and decorators, and how many arguments partials have filled in."""
    bound = 0
    while not isinstance(f, FunctionType) or hasattr(f, "__wrapped__"):
        if isinstance(f, functools.partial):
            f, bound = f.func, bound + len(f.args)
        elif hasattr(f, "__wrapped__"):
            f = f.__wrapped__
        else:
            return None, 0
    return f, bound


def _letter(i: int) -> str:
    return chr(ord("a") + i)


@dataclass
class Use:
    """That a function is a rule: of which operation and operand, with how many arguments filled in before the upstream gradient."""

    op: Op
    i: int | None  # None: the mask
    bound: int


def uses(ops: Iterable[Op]) -> dict[int, tuple[FunctionType, list[Use]]]:
    """The functions that are rules, by their identity."""
    found: dict[int, tuple[FunctionType, list[Use]]] = {}
    for op in ops:
        for i, rule in [*enumerate(op.rules), (None, op.mask)]:
            f, bound = _underlying(rule)
            if f is not None and f is not passes:  # the backward pass does not call that one; rows that name it have mutants
                found.setdefault(id(f), (f, []))[1].append(Use(op, i, bound))
    return found


def all_ops() -> list[Op]:
    return [o for o in gc.get_objects() if type(o) is Op]


def targets(wanted: Callable[[str], bool], named: dict[str, tuple[str, ...]]) -> list[Target | Row]:
    """What to make mistakes in: the rules in files that are ``wanted``, what only they call, and functions ``named`` by file."""
    ops = all_ops()
    rules = uses(ops)
    files = {f.__code__.co_filename for f, _ in rules.values()} | {
        f.__code__.co_filename for op in ops if (f := _underlying(op.forward)[0])
    }
    files = {path for path in files if wanted(path) and Path(path).is_file()} | {path for path in named if Path(path).is_file()}
    living = Living(files)
    found: list[Target | Row] = []
    for path in sorted(files):
        direct: dict[int, Target] = {}
        plain: list[Target] = []
        for node in ast.walk(_tree(path)):
            if not isinstance(node, _NESTED):
                continue
            target = Target(path, node, living)
            if not target.functions:
                continue
            told = [use for f in target.own for use in rules.get(id(f), (f, []))[1]]
            if told and wanted(path):
                _is_rule(target, told)
                direct[id(node)] = target
            elif isinstance(node, ast.FunctionDef) and node.name in named.get(path, ()):
                target.label, target.kind = node.name, "engine"
                direct[id(node)] = target
            elif isinstance(node, ast.FunctionDef):
                plain.append(target)
        helpers = _helpers(path, direct, plain) if wanted(path) else []
        found += sorted([*direct.values(), *helpers], key=lambda t: (t.node.lineno, t.node.col_offset))
        found += _rows(path, {id(op) for op in ops}, rules) if wanted(path) else []
    return found


def _is_rule(target: Target, told: list[Use]) -> None:
    names = dict.fromkeys(f"{u.op.name}, {'mask' if u.i is None else f'operand {_letter(u.i)}'}" for u in told)
    if len({u.op.name for u in told}) == 1 and len(names) > 3:
        names = {f"{told[0].op.name}, every operand": None}
    target.label = "; ".join(list(names)[:3]) + (f"; {len(names) - 3} more" if len(names) > 3 else "")
    use = next((u for u in told if u.i is not None), told[0])
    target.op, target.bound, target.kind = use.op, use.bound, "mask" if use.i is None else "rule"
    arguments = target.names
    if use.i is None:
        target.role = Role(values=tuple(arguments[1:]))
    elif len(arguments) > use.bound:
        values = arguments[use.bound + 1 : use.bound + 2 + len(use.op.rules)]
        target.role = Role(arguments[use.bound], tuple(values), all(u.op.exact for u in told))


def _helpers(path: str, direct: dict[int, Target], plain: list[Target]) -> list[Target]:
    """The functions of a file that rules call, and nobody else."""
    by_name = {t.name: t for t in plain if isinstance(t.node, ast.FunctionDef) and not _public(t)}
    inside = {child for owner in direct.values() for child in _body(owner.node)}
    users: dict[str, set[int]] = {name: set() for name in by_name}
    spans = {name: _body(t.node) for name, t in by_name.items()}
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in users:
            if id(node) in inside:
                users[node.id].add(-1)
            else:
                owners = [name for name, span in spans.items() if id(node) in span]
                users[node.id].add(id(by_name[owners[0]]) if owners else 0)
    chosen: dict[str, Target] = {}
    while True:
        known = {-1} | {id(t) for t in chosen.values()}
        more = {
            n: by_name[n]
            for n, who in users.items()
            if who - {id(by_name[n])} and who - {id(by_name[n])} <= known and n not in chosen
        }
        if not more:
            break
        chosen.update(more)
    for target in chosen.values():
        target.callers = [t for t in direct.values() if target.name in _reached(t, chosen)]
        names = sorted({t.label for t in target.callers})
        target.label = f"{target.name}, called by {names[0]}{' and others' if len(names) > 1 else ''}"
    return list(chosen.values())


def _reached(rule: Target, helpers: dict[str, Target]) -> set[str]:
    """The helpers that a rule calls, and those that they call."""
    found: set[str] = set()
    stack = [rule]
    while stack:
        names = {n.id for n in ast.walk(stack.pop().node) if isinstance(n, ast.Name)}
        new = names & helpers.keys() - found
        found |= new
        stack += [helpers[name] for name in new]
    return found


def _body(function: Function) -> set[int]:
    """The ids of what is inside a function; its decorators and defaults are not."""
    inside = [function.body] if isinstance(function, ast.Lambda) else function.body
    return {id(node) for part in inside for node in ast.walk(part)}


def _public(target: Target) -> bool:
    """Whether another module has the function too: then it is more than a part of rules."""
    f = target.own[0] if target.own else None
    modules = [m for m in list(sys.modules.values()) if f is not None and getattr(m, "__dict__", {}).get(target.name) is f]
    return len(modules) > 1 and not target.name.startswith("_")


def _rows(path: str, ops: set[int], rules: dict[int, tuple[FunctionType, list[Use]]]) -> Iterator[Row]:
    """The rules that a file's rows name instead of writing them out."""
    module = next((m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == path), None)
    for statement in _tree(path).body if module is not None else ():
        call = getattr(statement, "value", None)
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or not isinstance(call, ast.Call):
            continue
        goal = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
        op: Any = getattr(vars(module).get(ast.unparse(goal)), "op", None)
        if id(op) not in ops:
            continue
        for i, (argument, rule) in enumerate(zip(call.args[1:], op.rules)):
            if isinstance(argument, (ast.Name, ast.Attribute)) and rule is not None:
                f, _ = _underlying(rule)
                shared = f is None or f.__code__.co_filename != path or f is passes or len(rules[id(f)][1]) > 1
                yield Row(path, op, i, argument, f"{op.name}, operand {_letter(i)}", shared)


def mutants(chosen: list[Target | Row]) -> list[Mutant]:
    """Every mistake in every target, each with a name that stays the same as long as the function's source does."""
    found: list[Mutant] = []
    for target in chosen:
        if isinstance(target, Row):
            text = ast.unparse(target.node)
            made = [Mutant(target, operator, target.node.lineno, text, new, None) for operator, new in target.mistakes()]
        else:
            made = [
                Mutant(target, e.operator, e.old.lineno, _short(e.old), _short(e.new), e)  # type: ignore[attr-defined]
                for e in target.edits()
            ]
        source = ast.dump(target.node)
        for k, mutant in enumerate(made):
            words = f"{Path(target.path).name} {target.label} {source} {k} {mutant.operator} {mutant.new}"
            mutant.id = hashlib.sha256(words.encode()).hexdigest()[:16]
        found += made
    return found


def _short(node: ast.AST) -> str:
    if isinstance(node, ast.Pass):
        return "(nothing)"
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "_minigrad_mutation":
        return f"{ast.unparse(node.args[1])}, and {ast.unparse(node.args[2])} *= 2"
    text = ast.unparse(node)
    first = text.splitlines()[0]
    return first if first == text else f"{first} ..."


_MARK = re.compile(r"#\s*mutate:\s*equivalent\s*(?:\[([^\]]*)\])?\s*because\s+(\S.*)")


def excuse(mutant: Mutant) -> str | None:
    """The reason, where the line's comment says that this mistake changes nothing: ``# mutate: equivalent [names] because ...``."""
    lines = Path(mutant.target.path).read_text().splitlines()
    node = mutant.edit.old if mutant.edit is not None else mutant.target.node
    for line in dict.fromkeys((mutant.line, getattr(node, "end_lineno", None) or mutant.line)):
        match = _MARK.search(lines[line - 1])
        if match is not None:
            names = [name.strip() for name in (match[1] or "").split(",") if name.strip()]
            if not names or mutant.operator in names:
                return match[2].strip()
    return None
