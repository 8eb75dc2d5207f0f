"""Module: a function with parameters. What belongs to it is found by walking its attributes; the names are their paths."""

from __future__ import annotations

import difflib
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from minigrad import backend, halves, tracing
from minigrad.errors import DtypeError, MinigradError, ShapeError
from minigrad.graph import TRACE, leaf, recording
from minigrad.nn.backward_hooks import Watch
from minigrad.primitive import Op
from minigrad.tensor import Tensor, tensor, wrap

_structure = [0]
"""How often anything was added to any module: a root that is called again after that names its parameters again."""
_hook_number = itertools.count().__next__
_NONE: Mapping[Any, Any] = MappingProxyType({})


class Parameter(Tensor):
    """A tensor that a module learns: it asks for its gradient, and modules find it among their attributes.

    The values are copied. Its ``name`` is its path in the module that was called, unless you gave it another.

    Example:
        >>> from minigrad import nn
        >>> nn.Parameter([1.0, 2.0])
        tensor([1., 2.], requires_grad=True)
    """

    __slots__ = ("_path",)
    _path: str | None

    def __new__(cls, data: Any = (), requires_grad: bool = True, name: str | None = None) -> Self:
        given = tensor(data if isinstance(data, (Tensor, np.ndarray)) or np.size(data) else np.zeros(0, "float32"))
        return cls.around(given._data, requires_grad, name)

    @classmethod
    def around(cls, array: Any, requires_grad: bool = True, name: str | None = None) -> Self:
        """A parameter that owns ``array``, which nobody else holds: not copied."""
        if requires_grad and halves.kind(array.dtype) not in "fc":
            raise DtypeError(
                f"Parameter: dtype {array.dtype} has no gradient: pass floating values, or requires_grad=False, "
                f"or keep constants with register_buffer"
            )
        out = object.__new__(cls)
        out._data, out.node, out._path = array, leaf(array, requires_grad, name), None
        return out

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        twin = super().__deepcopy__(memo)
        if isinstance(twin, Parameter):
            twin._path = self._path
        return twin


def empty_parameter(shape: tuple[int, ...], device: str | None = None, dtype: Any = None) -> Parameter:
    """A parameter of the given shape whose values are yet to be set, by a function of :mod:`minigrad.nn.init`."""
    return Parameter.around(backend.library(device).empty(shape, dtype=dtype or backend.get_default_dtype()))


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class RemovableHandle:
    """A registered hook; ``remove()`` takes it away."""

    def __init__(self, hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> None:
        self._hooks, self._number = hooks, _hook_number()
        hooks[self._number] = hook

    def remove(self) -> None:
        self._hooks.pop(self._number, None)


class _Label(str):
    """What a module is called inside its parent. It knows the module's class, so scopes do, for those who draw."""

    type: str = ""


class Module:
    """A function with parameters. Set them and other modules as attributes in ``__init__``, and write ``forward``.

    An attribute that is a :class:`Parameter` is a parameter, one that is a Module is a child, and so are those in a list,
    tuple or dict attribute (but not in a private one: ``self._others = [m]`` hides ``m``). Their names are their paths:
    ``layers.0.weight``. Tensors that are saved but not learned are announced with :meth:`register_buffer`.

    Calling a module runs ``forward`` inside its scope: what is recorded knows the path of the module that made it, counted
    from the outermost call, as in ``("MLP", "layers.0")``. That costs 1 us a call.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> class Affine(nn.Module):
        ...     def __init__(self):
        ...         self.scale = nn.Parameter([2.0])
        ...
        ...     def forward(self, x):
        ...         return self.scale * x
        >>> model = Affine()
        >>> model(mg.tensor([1.0, 3.0])).numpy().tolist()
        [2.0, 6.0]
        >>> [name for name, _ in model.named_parameters()]
        ['scale']
    """

    training: bool = True
    _label: str | None = None
    _transparent: bool = False
    """Of containers that are never called themselves: their children's scopes are ``layers.0``, not ``layers``, ``0``."""
    _buffers: Mapping[str, bool] = _NONE
    _forward_hooks: Mapping[int, Callable[..., Any]] = _NONE
    _forward_pre_hooks: Mapping[int, Callable[..., Any]] = _NONE
    _backward_hooks: Mapping[int, Callable[..., Any]] = _NONE
    _backward_pre_hooks: Mapping[int, Callable[..., Any]] = _NONE
    _named_at: int = -1
    _shown: tuple[str, ...] = ()
    """The attributes that its ``repr`` shows."""

    # Running it
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} has no forward: define forward(self, ...) in the class")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        mode, scope = recording.get()
        if scope:
            scope = (*scope, self._label or type(self).__name__)
        else:
            scope = (type(self).__name__,)
            self._name_parameters()
        token = recording.set((mode, scope))
        if mode >= TRACE:
            tracing.called(self)
        try:
            for before in tuple(self._forward_pre_hooks.values()):
                given = before(self, args)
                if given is not None:
                    args = given if isinstance(given, tuple) else (given,)
            watch = None
            if self._backward_hooks or self._backward_pre_hooks:
                watch = Watch(self, self._backward_pre_hooks, self._backward_hooks)
                args = watch.on_inputs(args)
            out = self.forward(*args, **kwargs)
            for after in tuple(self._forward_hooks.values()):
                changed = after(self, args, out)
                if changed is not None:
                    out = changed
            return out if watch is None else watch.on_outputs(out)
        except Exception as error:
            if not any(note.startswith("minigrad: in module") for note in getattr(error, "__notes__", ())):
                error.add_note(f"minigrad: in module {'.'.join(scope)}, a {self._headline()}")
            raise
        finally:
            recording.reset(token)

    def register_forward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, inputs, output)`` after every forward; what it returns, if anything, replaces the output."""
        return RemovableHandle(vars(self).setdefault("_forward_hooks", {}), hook)

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, inputs)`` before every forward; what it returns, if anything, replaces the inputs."""
        return RemovableHandle(vars(self).setdefault("_forward_pre_hooks", {}), hook)

    def register_full_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` in backward, once the gradients of all inputs are there.

        Both are tuples, None where there is no gradient; what it returns, if anything, replaces ``grad_input``.

        Example:
            >>> import minigrad as mg
            >>> from minigrad import nn
            >>> layer = nn.Tanh()
            >>> handle = layer.register_full_backward_hook(
            ...     lambda module, grad_input, grad_output: print(grad_output[0].tolist())
            ... )
            >>> layer(mg.tensor([0.0, 1.0], requires_grad=True)).sum().backward()
            [1.0, 1.0]
        """
        return RemovableHandle(vars(self).setdefault("_backward_hooks", {}), hook)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before them; what it returns, if anything, replaces ``grad_output``."""
        return RemovableHandle(vars(self).setdefault("_backward_pre_hooks", {}), hook)

    def multiply_adds(self, output: Any, *inputs: Any) -> int:
        """How many multiply-adds one forward of this module's own weights took, for :func:`minigrad.nn.summary`."""
        return 0

    # Its attributes
    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, (Parameter, Module, list, tuple, dict)):
            _structure[0] += 1
            prefix = f"{self._label}.{name}" if self._transparent and self._label else name
            for path, child in _inside(prefix, value):
                if isinstance(child, Module):
                    child._relabel(path)
        if value is not None and not isinstance(value, (Parameter, Module)):
            if isinstance(vars(self).get(name), Parameter):
                raise TypeError(
                    f"{type(self).__name__}.{name} is a Parameter, and {type(value).__name__} is not: it would no longer be learned "
                    f"or saved. Assign nn.Parameter(...), change it in place inside `with mg.no_grad():`, or use another name."
                )
            if name in self._buffers and not isinstance(value, Tensor):
                raise TypeError(
                    f"{type(self).__name__}.{name} is a buffer: expected a Tensor or None, got {type(value).__name__}; "
                    f"wrap it with mg.tensor(...)"
                )
        # A hyperparameter of NumPy's, np.float64(1e-5), would make a float32 graph float64; a Python number does not.
        object.__setattr__(self, name, value.item() if isinstance(value, np.generic) else value)

    def _relabel(self, label: str) -> None:
        named = _Label(label)
        named.type = type(self).__name__
        object.__setattr__(self, "_label", named)
        if self._transparent:
            for name, child in self._members(Module):
                child._relabel(f"{label}.{name}")

    if not TYPE_CHECKING:  # so that a type checker, too, sees a misspelt attribute

        def __getattr__(self, name: str) -> Any:
            near = difflib.get_close_matches(name, dir(self), 1)
            mine = ", ".join(key for key in vars(self) if not key.startswith("_")) or "none"
            hint = f"did you mean {near[0]!r}?" if near else f"its own attributes: {mine}"
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}; {hint}", name=name, obj=None)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Announce a tensor that belongs to the state but is not learned; if not ``persistent`` it is not saved either."""
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"register_buffer: {name!r}: expected a Tensor or None, got {type(tensor).__name__}; use mg.tensor(...)"
            )
        _check_name(self, name, "register_buffer")
        vars(self).setdefault("_buffers", {})[name] = persistent
        object.__setattr__(self, name, tensor)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """The same as setting the attribute."""
        _check_name(self, name, "register_parameter")
        setattr(self, name, param)

    def add_module(self, name: str, module: Module | None) -> None:
        """The same as setting the attribute."""
        _check_name(self, name, "add_module")
        setattr(self, name, module)

    # What belongs to it
    def _members(self, kind: type[Any]) -> Iterator[tuple[str, Any]]:
        """Attributes of a kind, and those in lists, tuples and dicts that are attributes."""
        for name, value in vars(self).items():
            if isinstance(value, kind):
                yield name, value
            elif isinstance(value, (list, tuple, dict)) and not name.startswith("_"):
                yield from ((path, item) for path, item in _inside(name, value) if isinstance(item, kind))

    def _own_buffers(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, value) for name in self._buffers if (value := vars(self).get(name)) is not None)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, each once."""
        return _once(self._members(Module))

    def children(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module, under the name ``prefix``, and all inside it, with their paths, parents first."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        memo.add(id(self))
        yield prefix, self
        for name, child in self._members(Module):
            yield from child.named_modules(memo, _join(prefix, name), remove_duplicate)
        if not remove_duplicate:
            memo.discard(id(self))  # on the way back: a module may come again elsewhere, but not inside itself

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their paths; one that is shared comes once, under its first path."""
        self._name_parameters()
        return self._walk(lambda module: module._members(Parameter), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with their paths, each once."""
        return self._walk(Module._own_buffers, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _walk(
        self, own: Callable[[Module], Iterator[tuple[str, Any]]], prefix: str, recurse: bool, once: bool
    ) -> Iterator[tuple[str, Any]]:
        modules = self.named_modules(prefix=prefix, remove_duplicate=once) if recurse else iter([(prefix, self)])
        found = ((_join(path, name), value) for path, module in modules for name, value in own(module))
        return _once(found) if once else found

    def _name_parameters(self) -> None:
        """Give each parameter its path as its name, unless the user gave it one, or it knows a longer path."""
        if self._named_at == _structure[0]:
            return
        for path, p in self._walk(lambda module: module._members(Parameter), "", recurse=True, once=True):
            if p.name is None or (p.name == p._path and path.count(".") >= p._path.count(".")):
                p.name = p._path = path
        object.__setattr__(self, "_named_at", _structure[0])

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as ``"encoder.layers.0"``; itself for ``""``."""
        return self._at(target, dict(self.named_modules(remove_duplicate=False)), "module")  # type: ignore[no-any-return]

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as ``"layers.0.weight"``."""
        return self._at(target, dict(self.named_parameters(remove_duplicate=False)), "parameter")  # type: ignore[no-any-return]

    def _at(self, target: str, found: Mapping[str, Any], kind: str) -> Any:
        if target not in found:
            near = difflib.get_close_matches(target, found, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(filter(None, found))}"
            raise AttributeError(f"{type(self).__name__} has no {kind} at {target!r}; {hint}")
        return found[target]

    # Its state
    def _state(self) -> dict[str, Tensor]:
        """Every parameter and persistent buffer under each of its paths: module by module, parameters first, as in PyTorch."""
        return {
            _join(path, name): value
            for path, module in self.named_modules(remove_duplicate=False)
            for name, value in (
                *module._members(Parameter),
                *((name, buffer) for name, buffer in module._own_buffers() if module._buffers[name]),
            )
        }

    def state_dict(self, prefix: str = "") -> OrderedDict[str, Tensor]:
        """Copies of all parameters and persistent buffers by path: Tensors that ask for no gradient.

        A snapshot: training on does not change it (PyTorch's shares its memory with the model).
        """
        return OrderedDict((prefix + path, wrap(value._data.copy())) for path, value in self._state().items())

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Take over the values of a :meth:`state_dict`, PyTorch's included: Tensors, arrays, whatever ``np.asarray`` takes.

        Values take the dtype and device of what they replace. Nothing is changed if anything does not fit.

        Args:
            state_dict: values by path.
            strict: whether paths that only the module or only ``state_dict`` has are errors. If not, they are returned.

        Raises:
            MinigradError: one error for all that is missing, unexpected, or of another shape.
        """
        mine = self._state()
        missing = [path for path in mine if path not in state_dict]
        unexpected = [path for path in state_dict if path not in mine]
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for path, old in mine.items():
            if path not in state_dict:
                continue
            try:
                values[path] = _numpy_of(state_dict[path], old.dtype)
            except Exception as error:
                wrong.append(f"{path}: expected an array, got {type(state_dict[path]).__name__} ({error})")
                continue
            if values[path].shape != old.shape:
                wrong.append(f"{path}: {old.shape} in the module, {values[path].shape} in the state dict")
        if wrong or (strict and (missing or unexpected)):
            near = {path: difflib.get_close_matches(path, missing, 1) for path in unexpected}
            told = [
                *(f"  missing in the state dict: {path} {mine[path].shape}" for path in missing if strict),
                *(
                    f"  unexpected in the state dict: {path}" + (f" (did you mean {near[path][0]}?)" if near[path] else "")
                    for path in unexpected
                    if strict
                ),
                *(f"  does not fit: {text}" for text in wrong),
            ]
            raise MinigradError(
                f"load_state_dict: the state dict does not fit {type(self).__name__}; nothing was changed.\n"
                + "\n".join(told)
                + ("\nBuild the module as it was saved, or pass strict=False to skip what is missing or unexpected."
                   if strict and (missing or unexpected) else "\nBuild the module as it was saved.")
            )  # fmt: skip
        for path, value in values.items():
            mine[path]._data = backend.to_device(value, mine[path].device)
        return IncompatibleKeys(missing, unexpected)

    # Changing all of it
    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call ``fn`` on every module inside, children first, then on this one: ``model.apply(init_weights)``."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set ``training`` here and in all modules inside: dropout drops, batch normalisation measures its batch."""
        for module in self.modules():
            object.__setattr__(module, "training", mode)
        return self

    def eval(self) -> Self:
        """``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set ``requires_grad`` of all parameters."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def freeze(self) -> Self:
        """Stop learning: no parameter inside asks for a gradient (notes: transfer learning)."""
        return self.requires_grad_(False)

    def unfreeze(self) -> Self:
        """Learn again."""
        return self.requires_grad_(True)

    def zero_grad(self) -> None:
        """Forget the accumulated gradients."""
        for p in self.parameters():
            p.grad = None

    def to(self, *targets: Any, device: str | None = None, dtype: Any = None) -> Self:
        """On another device, or in another floating dtype, or both: ``to("cuda")``, ``to("float64")``, ``to("cpu", mg.float32)``.

        Parameters and buffers stay the same objects. Buffers of integers keep their dtype.
        """
        for target in targets:
            if isinstance(target, str) and target.partition(":")[0] in ("cpu", "cuda"):
                device = target
            else:
                dtype = target
        kind = None if dtype is None else np.dtype(dtype)
        if kind is not None and halves.kind(kind) not in "fc":
            raise DtypeError(f"to: expected a floating dtype for parameters, got {kind}")
        for value in (*self.parameters(), *self.buffers()):
            array = value._data
            if kind is not None and halves.kind(array.dtype) in "fc":
                array = array.astype(kind, copy=False)
            _replace(value, array if device is None else backend.to_device(array, device))
        return self

    def half(self) -> Self:
        """``to("float16")``."""
        return self.to("float16")

    def float(self) -> Self:
        """``to("float32")``."""
        return self.to("float32")

    def double(self) -> Self:
        """``to("float64")``."""
        return self.to("float64")

    def cpu(self) -> Self:
        """``to("cpu")``."""
        return self.to("cpu")

    def cuda(self) -> Self:
        """``to("cuda")``."""
        return self.to("cuda")

    # Words about it
    def extra_repr(self) -> str:
        """What stands between the parentheses of its ``repr``."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._shown)

    def _headline(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def _path(self) -> str:
        """Where it is: the scope while it runs, else its class."""
        return ".".join(recording.get()[1]) or type(self).__name__

    def _refuse(self, expected: str, received: Any, advice: str) -> ShapeError:
        """The error for an input that does not fit, with the module as the operation that failed, for drawings."""
        shape = tuple(getattr(received, "shape", ()))
        error = ShapeError(f"{self._path()}: {self._headline()} expects an input of shape {expected}, got {shape}. {advice}")
        failed = Op(type(self).__name__, self.forward, (None,), "", "", "", "", False, False, None, 0, ())
        setattr(error, "operation", (failed, (received,), ()))  # noqa: B010
        return error

    def __repr__(self) -> str:
        lines = [f"({name}): {_indent(repr(child))}" for name, child in self._members(Module)]
        return _tree(type(self).__name__, self.extra_repr(), lines)


def functional_call(
    module: Module, parameters: Mapping[str, Any], args: Any = (), kwargs: Mapping[str, Any] | None = None
) -> Any:
    """``module(*args, **kwargs)`` with other parameters or buffers, given by path: the module as a function of them.

    So they can be arguments of ``mg.grad``, ``mg.hessian`` or ``check_grads``. A parameter that has several paths is replaced
    at all of them. Not for two threads on one module at a time.

    Raises:
        MinigradError: if the module has no parameter or buffer at a path.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> model = nn.Linear(2, 1)
        >>> def loss(w):
        ...     return nn.functional_call(model, {"weight": w}, (mg.ones((3, 2)),)).sum()
        >>> mg.grad(loss)(mg.zeros((1, 2)))
        tensor([[3., 3.]])
    """
    places = {
        _join(path, name): (owner, name, value)
        for path, owner in module.named_modules()
        for name, value in vars(owner).items()
        if isinstance(value, Parameter) or name in owner._buffers
    }
    unknown = [path for path in parameters if path not in places]
    if unknown:
        raise MinigradError(f"functional_call: {type(module).__name__} has no parameter or buffer at {', '.join(unknown)}")
    new = {id(places[path][2]): value for path, value in parameters.items()}
    swapped = [(owner, name, old) for owner, name, old in places.values() if old is not None and id(old) in new]
    for owner, name, old in swapped:
        vars(owner)[name] = new[id(old)]
    try:
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        for owner, name, old in swapped:
            vars(owner)[name] = old


def _tree(name: str, extra: str, lines: list[str]) -> str:
    if not lines:
        return f"{name}({extra})"
    return f"{name}(\n" + "".join(f"  {line}\n" for line in [*filter(None, [extra]), *lines]) + ")"


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


def _inside(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """``value`` under its name, or the modules and parameters in it if it is a list, tuple or dict, under theirs."""
    if isinstance(value, (list, tuple, dict)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(item, (Module, Parameter, list, tuple, dict)):
                yield from _inside(f"{name}.{key}", item)
    else:
        yield name, value


def _once(items: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    seen: set[int] = set()
    for name, value in items:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _check_name(module: Module, name: str, asked: str) -> None:
    if not name or "." in name:
        raise KeyError(
            f'{asked}: {name!r} cannot be a name: paths are joined with ".", so it must be without one, and not empty'
        )
    if name not in vars(module) and name in dir(type(module)):
        raise KeyError(f"{asked}: {name!r} is already an attribute of {type(module).__name__}; use another name")


def _numpy_of(value: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """A fresh array with the values of a Tensor, an array, or a tensor of another library."""
    return np.array(backend.to_numpy(value._data) if isinstance(value, Tensor) else np.asarray(value), dtype=dtype)


def _replace(t: Tensor, array: Any) -> None:
    """Give a leaf an array of another dtype or on another device. It is a new node: a graph recorded before stays as it was."""
    if array is t._data:
        return
    old, t._data = t.node, array
    if old is not None:
        t.node = leaf(array, old.requires_grad)
        t.node.extra = old.extra
        if old.grad is not None:
            t.node.grad = wrap(backend.to_device(old.grad._data.astype(array.dtype), t.device))
