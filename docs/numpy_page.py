"""The page of NumPy's functions on Tensors, generated from the tables of minigrad/numpy_protocol.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad import numpy_protocol as protocol

PARTS = {"": "np", "linalg.": "np.linalg", "fft.": "np.fft"}
NO_TENSOR = "takes no tensor"
HEAD = """# NumPy's functions on tensors

Generated from the tables of `minigrad/numpy_protocol.py` by `python -m docs.make`; do not edit.

`np.exp(x)`, `np.linalg.solve(a, b)`, `np.add.accumulate(x)`, ... of a tensor are recorded and differentiated. Names, arguments, values
and dtypes are NumPy's. The dispatch takes 5 to 10 us a call; `mg.exp` and its like do not pay that.

```python
import numpy as np
import minigrad as mg

x = mg.tensor([1.0, 2.0, 4.0, 3.0], requires_grad=True)
loss = np.median(np.abs(np.fft.rfft(np.pad(x, 2))) ** 2) + np.linalg.norm(np.outer(x, x))
loss.backward()
print(x.grad)
```

- Methods of ufuncs: `reduce`, `accumulate`, `reduceat` and `outer` are recorded for every differentiable ufunc of two operands; `at` writes in place.
- `out=` takes a new tensor, such as `mg.empty(shape)`, which becomes the result; where an array, a view or a recorded value shares its
  memory, that is refused before anything is written.
- `where=` of a ufunc leaves `out`, or 0 where there is none (NumPy: whatever the memory held).
- A complex result is a pair of real tensors, `minigrad.fft.Complex`, which `np.abs`, `np.angle`, `np.conj`, sums, products and the inverse
  transforms take; no tensor with a complex dtype ever has a gradient.
- On tensors that no gradient is asked of, NumPy itself runs.

"""


def functions(part: str) -> Iterator[tuple[str, Any]]:
    """The public functions of one of NumPy's namespaces."""
    module = getattr(np, part.rstrip(".")) if part else np
    for name in sorted(set(module.__all__)):
        value = getattr(module, name)
        if callable(value) and not isinstance(value, type):
            yield name, value


def status(function: Any) -> tuple[str, str]:
    """What happens to a tensor that is given to ``function``, and why."""
    row = protocol.UFUNCS.get(function) if isinstance(function, np.ufunc) else protocol.FUNCTIONS.get(function)
    if row is not None:
        return row.status, row.why
    return NO_TENSOR, "makes arrays of numbers, shapes or files" if not hasattr(function, "_implementation") else ""


def numpy_page() -> str:
    """docs/numpy.md."""
    statuses = {
        **protocol.STATUSES,
        NO_TENSOR: "has no argument for one; `np.asarray` of one that requires a gradient is refused",
    }
    counts = {part: Counter(status(f)[0] for _, f in functions(part)) for part in PARTS}
    lines = [
        "| status | meaning | " + " | ".join(f"`{name}`" for name in PARTS.values()) + " |",
        "|---|---|" + "---|" * len(PARTS),
    ]
    lines += [f"| {s} | {told} | " + " | ".join(str(counts[part][s]) for part in PARTS) + " |" for s, told in statuses.items()]
    for part, title in PARTS.items():
        lines += [f"\n## {title}\n", "| function | status | |", "|---|---|---|"]
        lines += [f"| `{name}` | {state} | {why} |" for name, f in functions(part) for state, why in [status(f)]]
    return HEAD + "\n".join(lines) + "\n"
