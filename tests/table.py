"""Every row of the operation table, run on the arrays of any library: on a double of CuPy's, and on a GPU."""

from __future__ import annotations

import inspect
import sys

import numpy as np

import minigrad as mg
from minigrad.primitive import TABLE
from minigrad.tensor import wrap
from tests.domains import DOMAINS

HOST = {"to_device": "moves between libraries"} | dict.fromkeys(
    ("dft", "idft", "real_dft", "real_idft"), "the double has no fft module"
)
"""Operations that do not run on one library, with the reason."""
ROWS = sorted((set(TABLE) & set(DOMAINS)) - set(HOST))


def cases(name):
    """(function, operands' kinds, operands, parameters) of every case of an operation's domain."""
    domain, rng = DOMAINS[name], np.random.default_rng(0)
    found = [(case.shapes, case.params) for case in domain.cases]
    if TABLE[name].elementwise:
        found += [(shapes[: len(domain.operands)], {}) for shapes in (((2, 1, 3), (4, 1), (4, 3)), ((),) * 3, ((3, 0),) * 3)]
    assert found
    for shapes, params in found:
        f = next(f for f in functions(name) if binds(f, shapes, params))
        kinds = domain.operands * len(shapes) if takes_a_sequence(f) else domain.operands
        yield f, kinds, [kind.draw(rng, shape) for kind, shape in zip(kinds, shapes)], params


def functions(name):
    """What runs the row ``name``: the public function of that name, then the operation itself."""
    yield from (f for f in (getattr(mg.ops, name, None), getattr(mg, name, None)) if callable(f))
    for module in [m for key, m in sys.modules.items() if key.startswith("minigrad.")]:
        yield from (f for f in vars(module).values() if getattr(f, "op", None) is TABLE[name] and callable(f))


def binds(f, shapes, params):
    try:
        inspect.signature(f).bind(*([shapes] if takes_a_sequence(f) else shapes), **params)
    except TypeError:
        return False
    return True


def takes_a_sequence(f):
    return next(iter(inspect.signature(f).parameters), "") == "arrays"


def run(f, kinds, values, params, kind, make):
    """The results, as ``kind`` of arrays: forward, and all rules on arrays and on tensors."""
    tensors = []
    for operand, value in zip(kinds, values):
        if isinstance(value, (np.ndarray, np.generic, float)):
            t = wrap(make(np.array(value)))
            tensors.append(t.requires_grad_() if operand.differentiable and np.asarray(value).dtype.kind == "f" else t)
        else:
            tensors.append(value)
    out = f(tensors, **params) if takes_a_sequence(f) else f(*tensors, **params)
    results, inputs = [], [t for t in tensors if isinstance(t, mg.Tensor) and t.requires_grad]
    for y in out if isinstance(out, tuple) else (out,):
        results.append(y)
        if y.requires_grad and y.dtype.kind == "f":
            u = wrap(make(np.asarray(np.random.default_rng(1).normal(size=y.shape), y.dtype)))
            for create in (False, True):
                grads = mg.gradients(y, inputs, u, create_graph=create, retain_graph=True, allow_unused=True)
                results += [g for g in grads if g is not None]
    for r in results:
        assert type(r._data) is kind, f"a result is a {type(r._data).__name__}, not a {kind.__name__}"
    return [r._data for r in results]
