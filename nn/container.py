"""Containers: modules and parameters in a row, in a list, by name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from minigrad.nn.module import Module, Parameter, _check_name, _indent, _tree


class _Numbered(Module):
    """A container whose members are attributes named 0, 1, 2, ...: found by walking, as all members are."""

    _kind: type[Any] = Module

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self.extend(values)

    def _values(self) -> list[Any]:
        return [value for value in vars(self).values() if isinstance(value, self._kind)]

    def _renew(self, values: Iterable[Any]) -> None:
        for name in [name for name, value in vars(self).items() if isinstance(value, self._kind)]:
            delattr(self, name)
        self.extend(values)

    def append(self, value: Any) -> Self:
        if not isinstance(value, self._kind):
            raise TypeError(f"{type(self).__name__}: expected a {self._kind.__name__}, got {type(value).__name__}: {value!r}")
        setattr(self, str(len(self)), value)
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        for value in values:
            self.append(value)
        return self

    def insert(self, index: int, value: Any) -> None:
        values = self._values()
        values.insert(index, value)
        self._renew(values)

    def pop(self, index: int) -> Any:
        value = self[index]
        del self[index]
        return value

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(self._values()[index])
        try:
            return self._values()[index]
        except IndexError:
            raise IndexError(f"{type(self).__name__}: index {index} is out of range: it has {len(self)} members") from None

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, list(self._members(self._kind))[index][0], value)

    def __delitem__(self, index: Any) -> None:
        values = self._values()
        del values[index]
        self._renew(values)

    def __len__(self) -> int:
        return len(self._values())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values())

    def __contains__(self, value: object) -> bool:
        return any(value is mine for mine in self._values())


class Sequential(_Numbered):
    """y = f_n(... f_2(f_1(x))): modules, each taking what the one before it returned.

    Args:
        args: the modules, or one OrderedDict of them by name.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))(mg.ones((3, 4))).shape
        (3, 2)
    """

    def __init__(self, *args: Any) -> None:
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            self.extend(args)

    def forward(self, input: Any) -> Any:
        for module in self._values():
            input = module(input)
        return input

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(OrderedDict(list(self._members(Module))[index]))
        return super().__getitem__(index)

    def _renew(self, values: Iterable[Any]) -> None:
        """Named members keep their names; numbers are given anew."""
        names = {id(value): name for name, value in self._members(Module) if not name.isdigit()}
        for name, _ in list(self._members(Module)):
            delattr(self, name)
        for i, value in enumerate(values):
            self.add_module(names.get(id(value), str(i)), value)


class ModuleList(_Numbered):
    """Modules in a list, without a forward of its own.

    Example:
        >>> from minigrad import nn
        >>> layers = nn.ModuleList(nn.Linear(n, n) for n in (2, 3))
        >>> [name for name, _ in layers.named_parameters()]
        ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    _transparent = True

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__(modules or ())

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __repr__(self) -> str:
        lines: list[str] = []
        runs: list[tuple[int, int, str]] = []
        for i, text in enumerate(map(repr, self)):
            if runs and runs[-1][2] == text:
                runs[-1] = (runs[-1][0], i, text)
            else:
                runs.append((i, i, text))
        for first, last, text in runs:
            number, times = (f"{first}", "") if first == last else (f"{first}-{last}", f"{last - first + 1} x ")
            lines.append(f"({number}): {times}{_indent(text)}")
        return _tree(type(self).__name__, "", lines)


class _Named(Module):
    _kind: type[Any] = Module

    def __getitem__(self, key: str) -> Any:
        value = vars(self).get(key)
        if not isinstance(value, self._kind):
            raise KeyError(f"{type(self).__name__}: nothing is called {key!r}; there are: {', '.join(self.keys())}")
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(value, self._kind):
            raise TypeError(f"{type(self).__name__}[{key!r}]: expected a {self._kind.__name__}, got {type(value).__name__}")
        _check_name(self, key, type(self).__name__)
        setattr(self, key, value)

    def __delitem__(self, key: str) -> None:
        self[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self.keys())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def keys(self) -> list[str]:
        return [name for name, _ in self.items()]

    def values(self) -> list[Any]:
        return [value for _, value in self.items()]

    def items(self) -> list[tuple[str, Any]]:
        return list(self._members(self._kind))

    def update(self, other: Mapping[str, Any]) -> None:
        for key, value in other.items():
            self[key] = value

    def pop(self, key: str) -> Any:
        value = self[key]
        del self[key]
        return value


class ModuleDict(_Named):
    """Modules by name, without a forward of its own.

    Example:
        >>> from minigrad import nn
        >>> nn.ModuleDict({"relu": nn.ReLU(), "tanh": nn.Tanh()})["tanh"]
        Tanh()
    """

    _transparent = True

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        self.update(modules or {})


class ParameterList(_Numbered):
    """Parameters in a list; tensors and arrays in it become parameters.

    Example:
        >>> from minigrad import nn
        >>> [tuple(p.shape) for p in nn.ParameterList([[1.0, 2.0], [3.0]])]
        [(2,), (1,)]
    """

    _kind = Parameter

    def append(self, value: Any) -> Self:
        return super().append(value if isinstance(value, Parameter) else Parameter(value))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}: {p.dtype}{list(p.shape)}" for name, p in self._members(Parameter))


class ParameterDict(_Named):
    """Parameters by name; tensors and arrays in it become parameters.

    Example:
        >>> from minigrad import nn
        >>> nn.ParameterDict({"gain": [1.0]})["gain"].shape
        (1,)
    """

    _kind = Parameter

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        self.update(parameters or {})

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value if isinstance(value, Parameter) else Parameter(value))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}: {p.dtype}{list(p.shape)}" for name, p in self.items())
