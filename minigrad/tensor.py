"""Tensor: an array that remembers how it was made. Operators and methods, each one line onto an operation."""

from __future__ import annotations

import builtins
import copy
import itertools
import math
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from importlib import import_module
from typing import Any

import numpy as np

from minigrad import anomaly, arena, backend, cuts, guards, halves, ops, threads, tracing
from minigrad.errors import DeviceError, DtypeError, MinigradError, NotInGraphError, ShapeError
from minigrad.graph import (
    ARRAYS,
    OFF,
    Handle,
    Node,
    World,
    ancestors,
    is_off,
    leaf,
    next_order,
    on,
    pull_back,
    record_mode,
)
from minigrad.primitive import SPACE

_hook_number = itertools.count().__next__


class Tensor(Handle):
    """An array with a place in the recorded graph. Make one with :func:`tensor` (copies) or :func:`asarray` (shares).

    A tensor with ``requires_grad=True`` asks for its gradient; so does all that is computed from it. :meth:`backward` on a
    result fills the ``.grad`` of each such leaf. Function names are the array API's, training names PyTorch's.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 4.])
    """

    __slots__ = ()

    # What it is
    @property
    def data(self) -> Any:
        """The raw array, not a copy. Writing into it is noticed: backward refuses a graph whose saved values changed."""
        return self._hand_out("data")

    @data.setter
    def data(self, value: Any) -> None:
        if value is self._data:
            return
        if self.node is not None and self.node.op is not None:
            raise MinigradError("data: this tensor was computed by a recorded operation; only leaves can be given new data")
        array = value.data if isinstance(value, Tensor) else backend.from_python(value, self._data.dtype)
        if self.requires_grad:
            _may_require_grad(array, self.name)
        if array.shape != self._data.shape:
            raise ShapeError(f"data: the new array has shape {array.shape}, but this tensor has shape {self._data.shape}")
        self._data = array
        if self.node is not None:
            self.node.more().shared = True
            self.node.dtype = array.dtype

    def _hand_out(self, how: str) -> Any:
        tracing.read(self, f".{how}")
        guards.hand_out(self._data, self.node, next_order())
        if self.node is not None:
            cuts.leave(self.node, how)
        return self._data

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward has accumulated in this leaf (or retained here); None before there is one."""
        node = self.node
        if node is None:
            return None
        if node.op is None:
            tracing.grad_read(node)
            return node.grad  # type: ignore[no-any-return]
        if node.extra is not None and node.extra.retain:
            return node.extra.grad  # type: ignore[no-any-return]
        if node.requires_grad:
            warnings.warn(
                f".grad of a tensor computed by {node.op.name} is not kept (only leaves keep theirs): call retain_grad() on it "
                f"before backward(), or ask mg.gradients(output, [this]).",
                stacklevel=2,
            )
        return None

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            value = value if isinstance(value, Tensor) else wrap(backend.from_python(value, self._data.dtype))
            if value.shape != self.shape:
                raise ShapeError(f"grad: the gradient has shape {value.shape}, but its tensor has shape {self.shape}")
        node = self._with_node()
        if node.op is None:
            node.grad = value
            tracing.grad_set(node, value)
        else:
            node.more().grad = value

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient is asked for: set on leaves, inherited by what is computed from them."""
        return self.node is not None and self.node.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        node = self._with_node()
        if node.op is not None:
            if value != node.requires_grad:
                raise MinigradError(
                    f"requires_grad: this tensor was computed by {node.op.name}; only leaves can be changed. "
                    f"Use .detach() for a leaf that shares its values."
                )
            return
        if value:
            _may_require_grad(self._data, node.name)
        if value != node.requires_grad:  # a node of its own from here on: what was recorded before stays as it was
            self.node = leaf(self._data, bool(value))
            self.node.grad, self.node.extra = node.grad, node.extra

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self.node is None or self.node.op is None

    @property
    def name(self) -> str | None:
        """The name used in drawings and errors; without one, the variable's name is looked up when it is needed."""
        return self.node.name if self.node is not None else None

    @name.setter
    def name(self, value: str | None) -> None:
        self._with_node().more().name = value

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> Any:
        return self._data.dtype

    @property
    def ndim(self) -> int:
        return self._data.ndim  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        return self._data.size  # type: ignore[no-any-return]

    @property
    def device(self) -> str:
        return backend.device_of(self._data)

    @property
    def T(self) -> Tensor:
        """All axes reversed, as in NumPy."""
        return ops.transpose(self)  # type: ignore[no-any-return]

    @property
    def mT(self) -> Tensor:
        """The last two axes swapped."""
        return ops.matrix_transpose(self)  # type: ignore[no-any-return]

    @property
    def real(self) -> Any:
        """The real part: of a real tensor, itself."""
        return np.real(self) if self.dtype.kind == "c" else self

    @property
    def imag(self) -> Any:
        """The imaginary part: of a real tensor, zeros."""
        return np.imag(self)

    @property
    def at(self) -> ops.At:
        """Functional updates: ``x.at[index].set(v)`` and ``.add(v)`` return a new tensor and leave this one as it is."""
        return ops.At(self)

    def _with_node(self) -> Node:
        if self.node is None:
            self.node = leaf(self._data, requires_grad=False)
        return self.node

    # Leaving the graph
    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array: the tensor's own memory on the CPU, a copy from a GPU."""
        return backend.to_numpy(self._hand_out("numpy"))

    def item(self) -> Any:
        """The one element as a Python number.

        Raises:
            ShapeError: if there is not exactly one element.
        """
        if self._data.size != 1:
            raise ShapeError(f"item: expected a tensor with one element, got shape {self.shape}; use .numpy()")
        tracing.read(self, ".item()")
        cuts.leave(self.node, "item")
        return self._data.item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        tracing.read(self, ".tolist()")
        cuts.leave(self.node, "tolist")
        return backend.to_numpy(self._data).tolist()

    def detach(self) -> Tensor:
        """A leaf that shares the values and has no history."""
        array, node = self._data, self.node
        out = wrap(array, leaf(array, requires_grad=False, shared=True))
        if node is not None:
            guards.hand_out(array, node, next_order())
            earlier = node.extra.cuts if node.extra is not None else ()
            cuts.arrive(out._with_node(), (*earlier, cuts.leave(node, "detach")))
        return out

    def clone(self) -> Tensor:
        """A copy with its own memory, through which gradients flow."""
        return ops.copy(self)  # type: ignore[no-any-return]

    copy = clone

    def to(self, target: Any) -> Tensor:
        """On another device (``"cpu"``, ``"cuda"``) or in another dtype; itself where nothing changes."""
        if isinstance(target, str) and target.partition(":")[0] in ("cpu", "cuda"):
            here = self.device
            return self if target == here else ops.to_device(self, target, here)
        return self if np.dtype(target) == self.dtype else ops.astype(self, target)

    def to_device(self, device: str, /, *, stream: Any = None) -> Tensor:
        """On another device, under the array API's name; :meth:`to` also converts dtypes."""
        if stream is not None:
            raise DeviceError(f"to_device: stream={stream!r} is not supported; use CuPy's current stream")
        return self.to(device)

    # Asking for gradients
    def backward(self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Add to every leaf's ``.grad`` the derivative of this tensor with respect to it.

        Args:
            gradient: the upstream gradient, in this tensor's shape; may be left out for a tensor with one element, where it is 1.
            retain_graph: keep what was saved, so that backward can run through this graph again.
            create_graph: record the backward pass too, so that the gradients can be differentiated (implies ``retain_graph``).

        Raises:
            NotInGraphError: if nothing that this tensor was computed from asks for a gradient.
            ShapeError: if ``gradient`` is missing or does not have this tensor's shape.
            FreedGraphError: if an earlier backward has released the graph.
            ChangedValueError: if an array that a rule still needs was changed in place.
        """
        seeds = {self._source("backward"): seed(self, gradient)}
        accumulate(run(seeds, ancestors(seeds), retain_graph, create_graph))
        root = next(iter(seeds))
        if root.op is not None:
            root.grad = getattr(seeds[root], "_data", seeds[root])

    def _source(self, asked: str) -> Node:
        """The node that a gradient starts from or passes through."""
        if self.node is None or not self.node.requires_grad:
            raise NotInGraphError(
                f"{asked}: this tensor (shape {self.shape}, {self.dtype}) does not depend on any tensor with "
                f"requires_grad=True{', and recording is off (no_grad)' if is_off() else ''}. "
                f"Make its inputs with mg.tensor(..., requires_grad=True), and check for .detach(), no_grad and integer dtypes."
            )
        return self.node

    def register_hook(self, hook: Callable[[Tensor], Any]) -> Hook:
        """Call ``hook(gradient)`` whenever this tensor's gradient is computed; what it returns, if anything, replaces it.

        Returns:
            A handle whose ``remove()`` takes the hook away.
        """
        node = self._source("register_hook")

        def call(g: Any) -> Any:
            given = g if isinstance(g, Tensor) else wrap(backend.array_of(g))
            new = hook(given)
            if new is None:
                return g
            new = new if isinstance(new, Tensor) else wrap(backend.from_python(new, given.dtype))
            if new.shape != given.shape:
                raise ShapeError(f"hook: returned shape {new.shape} for a gradient of shape {given.shape}")
            new = new.to(given.dtype)
            return new if isinstance(g, Tensor) else new._data

        number = _hook_number()
        node.more().hooks[number] = call
        return Hook(node, number)

    def retain_grad(self) -> Tensor:
        """Keep ``.grad`` here too, though this tensor is not a leaf."""
        self._source("retain_grad").more().retain = True
        return self

    def requires_grad_(self, value: bool = True) -> Tensor:
        """Set ``requires_grad`` and return this tensor."""
        self.requires_grad = value
        return self

    def zero_grad(self) -> None:
        """Forget the accumulated gradient."""
        if self.node is not None:
            self.grad = None

    # Operators
    __add__ = ops.add
    __sub__ = ops.subtract
    __mul__ = ops.multiply
    __truediv__ = ops.divide
    __floordiv__ = ops.floor_divide
    __mod__ = ops.remainder
    __pow__ = ops.power
    __matmul__ = ops.matmul
    __neg__ = ops.negative
    __pos__ = ops.positive
    __abs__ = ops.abs
    __invert__ = ops.bitwise_invert
    __and__ = __rand__ = ops.bitwise_and
    __or__ = __ror__ = ops.bitwise_or
    __xor__ = __rxor__ = ops.bitwise_xor
    __lt__ = ops.less
    __le__ = ops.less_equal
    __gt__ = ops.greater
    __ge__ = ops.greater_equal
    __eq__ = ops.equal
    __ne__ = ops.not_equal
    __hash__ = object.__hash__
    __getitem__ = ops.getitem

    def __radd__(self, other: Any) -> Any:
        return ops.add(other, self)

    def __rsub__(self, other: Any) -> Any:
        return ops.subtract(other, self)

    def __rmul__(self, other: Any) -> Any:
        return ops.multiply(other, self)

    def __rtruediv__(self, other: Any) -> Any:
        return ops.divide(other, self)

    def __rfloordiv__(self, other: Any) -> Any:
        return ops.floor_divide(other, self)

    def __rmod__(self, other: Any) -> Any:
        return ops.remainder(other, self)

    def __rpow__(self, other: Any) -> Any:
        return ops.power(other, self)

    def __rmatmul__(self, other: Any) -> Any:
        return ops.matmul(other, self)

    def __lshift__(self, other: Any) -> Any:
        return np.left_shift(self, other)

    def __rlshift__(self, other: Any) -> Any:
        return np.left_shift(other, self)

    def __rshift__(self, other: Any) -> Any:
        return np.right_shift(self, other)

    def __rrshift__(self, other: Any) -> Any:
        return np.right_shift(other, self)

    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._assign("+=", ops.add(self, other))

    def __isub__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._assign("-=", ops.subtract(self, other))

    def __imul__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._assign("*=", ops.multiply(self, other))

    def __itruediv__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._assign("/=", ops.divide(self, other))

    def __ifloordiv__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._assign("//=", ops.floor_divide(self, other))

    def __imod__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._assign("%=", ops.remainder(self, other))

    def __ipow__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._assign("**=", ops.power(self, other))

    def __imatmul__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._assign("@=", ops.matmul(self, other))

    def _assign(self, sign: str, new: Tensor) -> Tensor:
        """``x += y``: a new value for a leaf inside no_grad (a graph that saved the old one keeps it), else ``x = x + y``."""
        if not self.is_leaf or not self.requires_grad:
            if is_off() and self.is_leaf and new.shape == self.shape and new.dtype == self.dtype:
                self._data = new._data
                tracing.assigned(self, new)
                return self
            return new
        if not is_off():
            raise MinigradError(
                f"{sign} on a leaf that requires a gradient would make it a computed tensor, and its .grad would stay None. "
                f"Update parameters inside `with mg.no_grad():`, or write x = x {sign[:-1]} y if a new tensor is meant."
            )
        if new.shape != self.shape:
            raise ShapeError(
                f"{sign}: the result has shape {new.shape}, but the tensor that it goes into has shape {self.shape}"
            )
        new = new if new.dtype == self.dtype else ops.astype(new, self.dtype)
        self._data = new._data
        tracing.assigned(self, new)
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        if tracing.active.get() is not None:
            tracing.refuse("x[index] = value", "write x = x.at[index].set(value), which returns a new tensor")
        if not is_off() and (self.requires_grad or (isinstance(value, Tensor) and value.requires_grad)):
            self._assign_at(index, value)
            return
        self._data[_plain_index(index)] = value._data if isinstance(value, Tensor) else value
        guards.written(self._data, self.node, next_order())

    def _assign_at(self, index: Any, value: Any) -> None:
        """``x[index] = value`` recorded: this tensor becomes the result of :func:`minigrad.index_set`.

        A view, an alias or a recorded value would have to change with it, or must not, so the array has to be this tensor's
        alone: CPython's count of references to it tells, a view being one through its ``base``.
        """
        fix = "write x = x.at[index].set(value), which returns a new tensor, or assign inside `with mg.no_grad():` if no gradient should flow."
        if self.requires_grad and self.is_leaf:
            raise MinigradError(f"x[index] = value on a leaf that requires a gradient cannot be differentiated: {fix}")
        saved = self.node.saved if self.node is not None else ()
        own = _SOLE + builtins.sum(v is self._data for v in saved)
        if getattr(self._data, "base", None) is not None or _array_references(self) > own:
            raise MinigradError(
                f"x[index] = value: another array, a view or a recorded operation holds the values of x, and would see the new ones "
                f"without their history: {fix}"
            )
        new = ops.index_set(self, index, value)
        new = new if new.dtype == self.dtype else ops.astype(new, self.dtype)
        self._data, self.node = new._data, new.node

    # Methods: the functions of the same name
    exp, log, sqrt, square, sin, cos, tanh = ops.exp, ops.log, ops.sqrt, ops.square, ops.sin, ops.cos, ops.tanh
    sigmoid, relu, softplus, erf, abs, sign = ops.sigmoid, ops.relu, ops.softplus, ops.erf, ops.abs, ops.sign
    pow, clip, clamp, maximum, minimum = ops.power, ops.clip, ops.clip, ops.maximum, ops.minimum
    sum, mean, prod, max, min, var, std = ops.sum, ops.mean, ops.prod, ops.max, ops.min, ops.var, ops.std
    all, any, argmax, argmin, argsort, sort = ops.all, ops.any, ops.argmax, ops.argmin, ops.argsort, ops.sort
    logsumexp, softmax, log_softmax, norm = ops.logsumexp, ops.softmax, ops.log_softmax, ops.norm
    cumsum, cumprod, topk = ops.cumulative_sum, ops.cumulative_prod, ops.topk
    matmul, dot, trace, diagonal = ops.matmul, ops.dot, ops.trace, ops.diagonal
    astype, expand_dims, unsqueeze, squeeze, swapaxes = ops.astype, ops.expand_dims, ops.expand_dims, ops.squeeze, ops.swapaxes
    broadcast_to, repeat, take, flip, tril, triu = ops.broadcast_to, ops.repeat, ops.take, ops.flip, ops.tril, ops.triu
    unstack, split, ravel, roll, tile, moveaxis = ops.unstack, ops.split, ops.ravel, ops.roll, ops.tile, ops.moveaxis
    floor, ceil, round, isnan, outer = ops.floor, ops.ceil, ops.round, ops.isnan, ops.outer
    log2, log10, log1p, expm1, tan, reciprocal = ops.log2, ops.log10, ops.log1p, ops.expm1, ops.tan, ops.reciprocal
    take_along_axis, permute_dims, inv, det = ops.take_along_axis, ops.permute_dims, ops.inv, ops.det

    def reshape(self, *shape: Any) -> Any:
        """The same elements in another shape: ``x.reshape(2, 3)`` or ``x.reshape((2, 3))``; one -1 is worked out."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    view = reshape

    def permute(self, *axes: Any) -> Any:
        """The axes in another order: ``x.permute(1, 0)`` or ``x.permute((1, 0))``."""
        return ops.permute_dims(self, tuple(axes[0]) if len(axes) == 1 and not isinstance(axes[0], int) else axes)

    def transpose(self, *axes: Any) -> Any:
        """As NumPy's: all axes reversed, or in the order given (two axes are exchanged by ``swapaxes``)."""
        if len(axes) == 2 and self.ndim > 2:
            raise ShapeError(
                f"transpose: {axes} does not name all {self.ndim} axes of shape {self.shape}; to exchange two, use x.swapaxes{axes}"
            )
        return self.permute(*axes) if axes else ops.transpose(self)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Any:
        """Axes ``start_dim`` to ``end_dim`` joined into one."""
        n = max(self.ndim, 1)
        if not (-n <= start_dim < n and -n <= end_dim < n and start_dim % n <= end_dim % n):
            raise ShapeError(
                f"flatten: axes {start_dim} to {end_dim} of shape {self.shape}: expected two of its axes, in order"
            )
        first, last = start_dim % n, end_dim % n
        return ops.reshape(self, (*self.shape[:first], math.prod(self.shape[first : last + 1]), *self.shape[last + 1 :]))

    # Python's and NumPy's protocols
    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(ops.unstack(self))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(f"the truth value of a tensor of shape {self.shape} is ambiguous: use mg.any(x) or mg.all(x)")
        tracing.read(self, "bool(tensor)")
        return bool(self._data)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.size != 1 or self.dtype.kind not in "iu":
            raise DtypeError(f"only a tensor with one integer can be an index, not {self.dtype}{list(self.shape)}")
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.size == 1 else format(str(self), spec)

    def __repr__(self) -> str:
        text = np.array2string(backend.to_numpy(self._data), separator=", ", prefix="tensor(", threshold=200)
        notes = [
            f"dtype={self.dtype}" if self.dtype not in (backend.get_default_dtype(), np.dtype(int), np.dtype(bool)) else "",
            f"device={self.device!r}" if self.device != "cpu" else "",
            f"name={self.name!r}" if self.name else "",
            "requires_grad=True" if self.requires_grad and self.is_leaf else "",
            f"op={self.node.op.name!r}" if self.node is not None and self.node.op is not None else "",
        ]
        return f"tensor({', '.join([text, *filter(None, notes)])})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self.requires_grad and not is_off():
            raise MinigradError(
                "a tensor that requires a gradient would lose its history as a NumPy array: use mg's function of that name, "
                "or .detach().numpy() (or .numpy()) if the history is not wanted"
            )
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return _numpy().call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return _numpy().call_function(function, args, kwargs)

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return import_module("minigrad.array_api").namespace(api_version)

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad and not is_off():
            raise MinigradError(
                "__dlpack__: a tensor that requires a gradient would lose its history in another library: pass x.detach()"
            )
        return self._hand_out("__dlpack__").__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()  # type: ignore[no-any-return]

    @property
    def __cuda_array_interface__(self) -> Any:
        if self.device == "cpu":
            raise AttributeError("__cuda_array_interface__: this tensor is not on a GPU")
        if self.requires_grad and not is_off():
            raise MinigradError("a tensor that requires a gradient would lose its history in another library: pass x.detach()")
        return self._hand_out("__cuda_array_interface__").__cuda_array_interface__

    def __copy__(self) -> Tensor:
        if not self.is_leaf:
            raise MinigradError(
                "copy of a computed tensor would lose its graph: use detach(), or clone(), which stays in the graph"
            )
        twin = _rebuild(type(self), self.data, self.requires_grad, self.name)
        twin._with_node().more().shared = True
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise MinigradError("deepcopy of a computed tensor would copy its whole graph: detach() it first")
        twin = _rebuild(type(self), self._data.copy(), self.requires_grad, self.name)
        if self.node is not None and self.node.grad is not None:
            twin.grad = copy.deepcopy(self.node.grad, memo)
        return twin

    def __reduce__(self) -> Any:
        if not self.is_leaf:
            raise MinigradError("pickling a computed tensor would lose its graph: detach() it first")
        return _rebuild, (type(self), self._data.copy(), self.requires_grad, self.name)  # a pickle may share its buffers


SPACE["Tensor"] = Tensor


def _array_references(t: Tensor) -> int:
    return sys.getrefcount(t._data)


class Hook:
    """A registered hook; ``remove()`` takes it away."""

    def __init__(self, node: Node, number: int) -> None:
        self._node, self._number = node, number

    def remove(self) -> None:
        self._node.more().hooks.pop(self._number, None)


def wrap(array: Any, node: Node | None = None) -> Tensor:
    """A Tensor around an array."""
    out = Tensor()
    out._data = array if type(array) is np.ndarray else backend.array_of(array)
    out.node = node
    return out


def _rebuild(cls: type[Tensor], array: Any, requires_grad: bool, name: str | None) -> Tensor:
    out = cls.__new__(cls)
    out._data, out.node = array, leaf(array, requires_grad, name)
    return out


def _numpy() -> Any:
    """NumPy's functions on Tensors, imported when NumPy first asks."""
    return import_module("minigrad.numpy_protocol")


def _plain_index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_plain_index(i) for i in index)
    return index._data if isinstance(index, Tensor) else index


_SOLE = _array_references(wrap(np.zeros(1)))
"""What the array of a Tensor counts when nothing else refers to it."""
DIFFERENTIABLE = World(wrap, ops.where)


def _may_require_grad(array: Any, name: str | None) -> None:
    if halves.kind(array.dtype) != "f":
        fix = "Differentiate its real and imaginary parts as two tensors" if array.dtype.kind == "c" else (
            "Write the numbers as floats ([1.0, 2.0]) or pass dtype='float32'"
        )  # fmt: skip
        raise DtypeError(
            f"requires_grad: {name or 'a tensor'} has dtype {array.dtype}, and only floating tensors have gradients. {fix}."
        )


def tensor(
    data: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None, name: str | None = None
) -> Tensor:
    """A tensor from numbers, nested lists, an array or a tensor. Always copies.

    Args:
        data: Python floats become the default dtype (float32); arrays keep theirs.
        dtype: convert to this dtype.
        requires_grad: ask for its gradient.
        device: ``"cpu"`` or ``"cuda"``; by default where ``data`` is.
        name: its name in drawings and errors.

    Raises:
        DtypeError: for data that are not numbers in a regular shape, or an integer tensor that asks for a gradient.

    Example:
        >>> import minigrad as mg
        >>> mg.tensor([[1, 2], [3, 4]], dtype="float64", requires_grad=True)
        tensor([[1., 2.],
                [3., 4.]], dtype=float64, requires_grad=True)
    """
    if isinstance(data, Tensor) and data.requires_grad and not is_off():
        warnings.warn(
            "mg.tensor(x) copies the values of a tensor that requires a gradient and cuts its history: write x.detach() if that is "
            "meant, x.clone() or mg.asarray(x) to stay in the graph",
            stacklevel=2,
        )
    if isinstance(data, Tensor) and tracing.active.get() is not None:
        data = ops.copy(data) if dtype is None else ops.astype(data, dtype)
        return _new_leaf(data.to(device or data.device)._data, requires_grad, name, shared=False)
    array = _array(data, dtype, device)
    if np.shares_memory(array, _raw(data)) if isinstance(array, np.ndarray) else array is _raw(data):
        array = array.copy()
    out = _new_leaf(array, requires_grad, name, shared=False)
    if isinstance(data, Tensor):
        cuts.arrive(out._with_node(), [cuts.leave(data.node, "tensor")])
    return out


def asarray(data: Any, dtype: Any = None, device: str | None = None, name: str | None = None) -> Tensor:
    """A tensor that shares memory with ``data`` where it can; a Tensor is returned as it is.

    Writing into the shared array while a recorded graph still needs its values is an error at backward.

    Example:
        >>> import numpy as np, minigrad as mg
        >>> a = np.zeros(2)
        >>> mg.asarray(a).numpy() is a
        True
    """
    if isinstance(data, Tensor):
        same = data if dtype is None else ops.astype(data, dtype)
        same = same if device is None else same.to(device)
        if name is not None:
            same = ops.reshape(same, same.shape)
            same.name = name
        return same
    return _new_leaf(_array(data, dtype, device), False, name, shared=True)


def _raw(data: Any) -> Any:
    return data._data if isinstance(data, Tensor) else data if isinstance(data, np.ndarray) or hasattr(data, "shape") else None


def _array(data: Any, dtype: Any, device: str | None) -> Any:
    if isinstance(data, Tensor):
        data = data._data
    elif isinstance(data, (list, tuple)) and _holds_tensors(data):
        data = _plain(data)
    try:
        array = backend.from_python(data, dtype)
    except (ValueError, TypeError) as error:
        if isinstance(error, MinigradError):
            raise
        raise DtypeError(
            f"tensor: cannot make an array from {str(data)[:60]!r}: {error}. "
            f"Expected numbers in a regular (nested) list, or an array."
        ) from error
    device = device or (None if _raw(data) is not None else backend.default_device())
    return array if device is None else backend.to_device(array, device)


def _holds_tensors(data: Any) -> bool:
    return any(isinstance(x, Tensor) or (isinstance(x, (list, tuple)) and _holds_tensors(x)) for x in data)


def _plain(data: Any) -> Any:
    return (
        np.asarray(data) if isinstance(data, Tensor) else [_plain(x) for x in data] if isinstance(data, (list, tuple)) else data
    )


def _new_leaf(array: Any, requires_grad: bool, name: str | None, shared: bool) -> Tensor:
    if requires_grad:
        _may_require_grad(array, name)
    return wrap(array, leaf(array, requires_grad, name, shared))


def seed(output: Tensor, gradient: Any) -> Any:
    """The upstream gradient where a backward pass starts: ones of a single element, or what the user gave."""
    if gradient is None:
        if output.size != 1:
            raise ShapeError(
                f"backward: the output has shape {output.shape}; only a tensor with one element has a gradient without an "
                f"upstream one. Reduce it first (.sum(), .mean()), or pass gradient= in its shape."
            )
        return backend.namespace(output._data).ones(output.shape, dtype=output.dtype)
    given = gradient if isinstance(gradient, Tensor) else wrap(backend.from_python(gradient, output.dtype))
    if given.shape != output.shape:
        raise ShapeError(
            f"backward: gradient has shape {given.shape}, but the output has shape {output.shape}; they must agree"
        )
    return given if given.dtype == output.dtype else given.to(output.dtype)


def run(
    seeds: dict[Node, Any], wanted: Collection[Node], retain: bool, create: bool, targets: Collection[Node] = ()
) -> dict[Node, Any]:
    """The backward pass, on arrays, or on Tensors if its result is to be differentiated again."""
    guards.verify(wanted)
    watch = anomaly.check_backward if anomaly.checking.get() else None
    if watch is not None:
        anomaly.check_start(seeds)
    if not create and tracing.active.get() is None:
        seeds = {node: getattr(g, "_data", g) for node, g in seeds.items()}
        # An infinite local gradient (sqrt at 0) is an answer, not an accident of this pass: no NumPy warnings from inside it.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return _in_their_dtype(pull_back(seeds, wanted, retain, ARRAYS, targets, watch))
    seeds = {node: g if isinstance(g, Tensor) else wrap(g) for node, g in seeds.items()}
    mode = on() if create else OFF
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"), record_mode(mode):
        return _in_their_dtype(pull_back(seeds, wanted, True, DIFFERENTIABLE, targets, watch))


def _in_their_dtype(found: dict[Node, Any]) -> dict[Node, Any]:
    """ml_dtypes promotes bfloat16 and a Python float to float32, so such a gradient may arrive wider than its tensor."""
    for node, g in found.items():
        if node.dtype.kind == "V" and g.dtype != node.dtype:
            found[node] = g.astype(node.dtype)
    return found


def references(found: dict[Any, Any], key: Any) -> int:
    """How often the array under ``key`` is referred to."""
    return sys.getrefcount(found[key])


_ALONE = references({0: np.zeros(1)}, 0)
_commit = threads.lock()


def own(g: Any) -> Tensor:
    """A gradient as a Tensor with memory of its own, in the graph of the pass that made it if that was recorded."""
    if not isinstance(g, Tensor):
        return wrap(backend.array_of(g).copy())
    with record_mode(on()):
        return ops.copy(g)  # type: ignore[no-any-return]


def accumulate(found: dict[Node, Any]) -> None:
    """Add finished gradients to the ``.grad`` of their tensors. No gradient shares memory with anything else."""
    for node in list(found):
        alone = references(found, node) <= _ALONE
        g = found.pop(node)
        if isinstance(g, Tensor) or not alone or not arena.owns(g) or not getattr(g.flags, "writeable", True):
            g = own(g)
        else:
            g = wrap(backend.array_of(g))
        at: Any = node if node.op is None else node.more()
        tracing.grad_read(node)
        with _commit:
            if at.grad is None:
                at.grad = g
            elif at.grad.requires_grad or g.requires_grad or tracing.active.get() is not None:
                with record_mode(on()):
                    at.grad = at.grad + g
            else:
                at.grad._data = backend.array_of(at.grad._data + g._data)
            tracing.grad_set(node, at.grad)
