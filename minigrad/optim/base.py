"""What optimisers share: parameter groups, state, checks, and how a parameter gets its new value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minigrad import arena, backend, tracing
from minigrad.errors import MinigradError, ShapeError
from minigrad.graph import on, record_mode
from minigrad.tensor import Tensor, wrap
from minigrad.threads import share

Group = dict[str, Any]
State = dict[str, Any]
Closure = Callable[[], Any]
Parameters = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[Group]

WHOLE = 1 << 19
"""Elements of the largest parameter that is updated in one piece. (256, 784) takes 0.64 (SGD) and 0.82 (Adam) of the time in pieces
of 32,768, (512, 768) 0.52 and 0.79; (2048, 2048) in one piece takes 2.6 times that of pieces."""
BLOCK = 1 << 17
"""Elements of a piece of larger ones: a dozen passes over it stay in the cache, and threads share the pieces."""
NOT_OURS = ("foreach", "fused", "capturable", "differentiable")
"""Options of PyTorch's groups that choose among its implementations."""

_AT_LEAST_0 = ("a number >= 0", lambda v: v >= 0)
_DECAY_RATES = ("two numbers in [0, 1)", lambda v: len(v) == 2 and all(0 <= b < 1 for b in v))
DOMAINS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "lr": _AT_LEAST_0,
    "lr_decay": _AT_LEAST_0,
    "eps": _AT_LEAST_0,
    "weight_decay": _AT_LEAST_0,
    "momentum": _AT_LEAST_0,
    "momentum_decay": _AT_LEAST_0,
    "initial_accumulator_value": _AT_LEAST_0,
    "alpha": _AT_LEAST_0,
    "rho": ("a number in [0, 1]", lambda v: 0 <= v <= 1),
    "betas": _DECAY_RATES,
    "etas": ("two numbers with 0 < first < 1 < second", lambda v: len(v) == 2 and 0 < v[0] < 1 < v[1]),
    "history_size": ("a whole number >= 1", lambda v: v >= 1),
    "line_search_fn": ("None or 'strong_wolfe'", lambda v: v in (None, "strong_wolfe")),
}
"""What a hyperparameter of that name may be, in whichever optimiser it occurs."""


class OptimizerError(MinigradError, ValueError):
    """Parameters, hyperparameters or a saved state that an optimiser cannot work with."""


class Optimizer(ABC):
    """Base class: holds the parameters in groups, each with hyperparameters of its own. A subclass writes :meth:`step`.

    Where every element of a parameter is updated alike, derive from :class:`Elementwise` instead and write only that update.

    Args:
        params: leaf tensors that ask for gradients; or pairs of a name and such a tensor (``model.named_parameters()``); or
            groups, dicts with ``"params"`` and the hyperparameters in which they differ from ``defaults``.
        defaults: the hyperparameters of groups that do not say otherwise.

    Raises:
        OptimizerError: for an empty list, a tensor that is computed or asks for no gradient, one that is given twice, and
            hyperparameters outside their range. A frozen parameter of a module is accepted, and passed over while it is frozen.
    """

    def __init__(self, params: Parameters, defaults: Group) -> None:
        if isinstance(params, (Tensor, dict)):
            raise TypeError(
                f"{self._name}: expected a list of tensors or of groups, got one {type(params).__name__}; put it into a list: [...]"
            )
        self.defaults = defaults
        self.state: defaultdict[Any, State] = defaultdict(dict)
        self.param_groups: list[Group] = []
        given: list[Any] = list(params)
        if not given:
            raise OptimizerError(
                f"{self._name}: the list of parameters is empty. Has the module no parameters, or was a generator used up before? "
                f"(model.parameters() gives a new one at each call)"
            )
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A compiled step calls ``step`` anew at each replay, as it is."""
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = tracing.effect(cls.step)  # type: ignore[method-assign]

    @abstractmethod
    def step(self, closure: Closure | None = None) -> Any:
        """Update the parameters once from their gradients.

        Args:
            closure: computes the loss anew (``zero_grad``, forward, ``backward``); it is called first, and its loss returned.
        """

    def add_param_group(self, param_group: Group) -> None:
        """Take in more parameters: ``{"params": [...], "lr": 0.01}``; what the group leaves out is as in ``defaults``.

        Raises:
            OptimizerError: as at construction.
        """
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f"{self._name}: a parameter group is a dict with 'params', got {str(param_group)[:60]!r}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(f"{self._name}: a set has no fixed order, and the saved state is numbered by it; pass a list")
        items: list[Any] = [params] if isinstance(params, Tensor) else list(params)
        group = {**self.defaults, **param_group, "params": [item[1] if isinstance(item, tuple) else item for item in items]}
        names = [item[0] for item in items if isinstance(item, tuple)]
        if names and len(names) != len(items):
            raise OptimizerError(f"{self._name}: {len(names)} of {len(items)} parameters came with a name; name all or none")
        if names:
            group["param_names"] = names
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for k, p in enumerate(group["params"]):
            self._check_parameter(p, f"{self._name}: parameter {k} of group {len(self.param_groups)}", known)
            known.add(id(p))
        self._check(group)
        self.param_groups.append(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _check_parameter(self, p: Any, which: str, known: set[int]) -> None:
        if not isinstance(p, Tensor):
            raise TypeError(f"{which} is a {type(p).__name__}; expected a tensor")
        which += f" ({f'{p.name!r}, ' if p.name else ''}shape {p.shape})"
        if not p.is_leaf:
            raise OptimizerError(
                f"{which} was computed by an operation; only leaves can be optimised. Optimise what it was computed from, or a leaf "
                f"made from it: x.detach().clone().requires_grad_()"
            )
        if not p.requires_grad and type(p) is Tensor:
            raise OptimizerError(f"{which} does not ask for a gradient: make it with requires_grad=True, or leave it out")
        if id(p) in known:
            raise OptimizerError(f"{which} was given before; each parameter can be in one group only, once")

    def _check(self, group: Group) -> None:
        """Hold the hyperparameters against :data:`DOMAINS`; what else a subclass demands, it adds here."""
        for name in self.defaults:
            expected, holds = DOMAINS.get(name, ("", None))
            value = group[name]
            try:
                fine = holds is None or bool(holds(value))
            except TypeError:
                fine = False
            if not fine:
                raise OptimizerError(f"{self._name}: {name} must be {expected}, got {value!r}")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or with ``set_to_none=False`` make them zeros (momentum and decay then still move a parameter)."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = None if set_to_none else wrap(backend.namespace(p._data).zeros(p.shape, dtype=p.dtype))

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that changes, as numbers and NumPy arrays; parameters appear as their running numbers.

        ``{"state": {0: {"step": 3, ...}, ...}, "param_groups": [{"lr": 0.1, ..., "params": [0, 1]}]}``
        """
        number = {id(p): k for k, p in enumerate(p for group in self.param_groups for p in group["params"])}
        return {
            "state": {
                number[id(p)]: {name: _saved(v) for name, v in state.items()} for p, state in self.state.items() if state
            },
            "param_groups": [{**group, "params": [number[id(p)] for p in group["params"]]} for group in self.param_groups],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was taken, bit for bit. A PyTorch optimiser's dict of the same class loads too.

        Raises:
            OptimizerError: if the groups do not have as many parameters as the saved ones.
            ShapeError: if a saved array does not have its parameter's shape.
        """
        groups, saved = self.param_groups, state_dict["param_groups"]
        sizes, saved_sizes = ([len(g["params"]) for g in some] for some in (groups, saved))
        if sizes != saved_sizes:
            raise OptimizerError(
                f"{self._name}: the saved state has groups of {saved_sizes} parameters, this optimiser has groups of {sizes}"
            )
        updated: list[Group] = []
        for group, other in zip(groups, saved):
            new = {k: tuple(v) if k in ("betas", "etas", "step_sizes") else v for k, v in other.items() if k not in NOT_OURS}
            names: Group = {k: group[k] for k in ("params", "param_names") if k in group}
            updated.append({**self.defaults, **new, **names})
            self._check(updated[-1])
        state: defaultdict[Any, State] = defaultdict(dict)
        for group, other in zip(updated, saved):
            for p, number in zip(group["params"], other["params"]):
                if number in state_dict["state"]:
                    state[p] = self._loaded(p, group, state_dict["state"][number])
        self.param_groups, self.state = updated, state

    def _loaded(self, p: Tensor, group: Group, saved: State) -> State:
        return {name: _restored(value, p) for name, value in saved.items() if value is not None}

    def __repr__(self) -> str:
        lines = []
        for k, group in enumerate(self.param_groups):
            count, size = len(group["params"]), sum(p.size for p in group["params"])
            lines.append(f"  group {k}: {count} parameter{'s' * (count != 1)}, {size:,} element{'s' * (size != 1)}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name not in ("params", "param_names")]
        return "\n".join([f"{self._name}(", *lines, ")"])


class PerParameter(Optimizer):
    """An optimiser that steps each parameter that has a gradient by itself: a subclass writes :meth:`_step`."""

    def step(self, closure: Closure | None = None) -> Any:
        loss = None if closure is None else recorded(closure)
        for group in self.param_groups:
            h = {name: plain(value) for name, value in group.items() if name != "params"}
            for p in group["params"]:
                if p.grad is not None:
                    self._step(p, h)
        return loss

    @abstractmethod
    def _step(self, p: Tensor, h: Group) -> None:
        """The step of one parameter, with the hyperparameters of its group as Python numbers."""


class Elementwise(PerParameter):
    """An optimiser that treats every element of a parameter alike.

    A subclass writes what differs:

    - :meth:`fresh`, the state of one parameter before its first step;
    - :meth:`update`, the step of one parameter.

    The rest is done here: gradients that are None are passed over, ``maximize`` turns the gradient round, ``weight_decay`` is
    added to it (L2), or, with ``decoupled_weight_decay``, shrinks the parameter; ``state["step"]`` counts from 1; large
    parameters (of more than :data:`WHOLE` elements) go through :meth:`update` in pieces.

    The new values go into a new array, so that a graph recorded with the old ones can still be differentiated, and whoever holds
    ``p.data`` keeps the old values. (Overwriting arrays that nobody else refers to was tried: no faster at 1 to 16 M elements,
    since the array that was freed one step before is handed out again.)

    Example:
        >>> import numpy as np, minigrad as mg
        >>> class SignDescent(mg.optim.Elementwise):
        ...     def update(self, p, g, s, h):
        ...         return p - h["lr"] * np.sign(g)
        >>> x = mg.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = SignDescent([x], {"lr": 0.5})
        >>> (x * x).sum().backward()
        >>> optimizer.step()
        >>> x
        tensor([ 0.5, -1.5], requires_grad=True)
    """

    def fresh(self, p: Any, h: Group) -> State:
        """The state of a parameter before its first step: arrays of its shape, and numbers. None by default.

        Args:
            p: the parameter's array.
            h: the hyperparameters of its group.
        """
        return {}

    @abstractmethod
    def update(self, p: Any, g: Any, s: State, h: Group) -> Any:
        """The new value of a piece of a parameter, as a new array; entries of ``s`` are replaced, or written into if they are arrays.

        Args:
            p: values, as a 1-d array.
            g: their gradient.
            s: their state.
            h: the hyperparameters of their group.
        """

    def _step(self, p: Tensor, h: Group) -> None:
        data, g, state = p._data, p.grad._data, self.state[p]  # type: ignore[union-attr]
        xp = backend.namespace(data)
        if not state:
            state.update(self.fresh(data, h))
        if "step" in state:
            state["step"] += 1
        if xp is not np or data.size <= WHOLE:
            replace(p, self._whole(data, g, state, h))
            return
        new = arena.empty(data.shape, data.dtype)
        out, x, g = new.reshape(-1), data.reshape(-1), g.reshape(-1)
        numbers = {name: value for name, value in state.items() if not hasattr(value, "shape")}
        flat = {name: value.reshape(-1) for name, value in state.items() if name not in numbers}
        written = dict(flat)

        def update(pieces: Iterable[int]) -> None:
            for k in pieces:
                part = slice(k * BLOCK, (k + 1) * BLOCK)
                views = {name: array[part] for name, array in flat.items()}
                s = {**numbers, **views}
                out[part] = self._piece(x[part], g[part], s, h)
                for name, value in s.items():
                    if name in numbers:
                        state[name] = value
                    elif value is not views.get(name):
                        if name not in written:
                            state[name] = np.empty(data.shape, data.dtype)
                            written[name] = state[name].reshape(-1)
                        written[name][part] = value

        update([0])  # which makes the state that is missing
        share(lambda pieces: update(k + 1 for k in pieces), -(-x.size // BLOCK) - 1)
        replace(p, new)

    def _piece(self, p: Any, g: Any, s: State, h: Group) -> Any:
        decay = h.get("weight_decay", 0)
        if h.get("maximize"):
            g = -g
        if decay:
            p, g = (p * (1 - h["lr"] * decay), g) if h.get("decoupled_weight_decay") else (p, g + decay * p)
        return self.update(p, g, s, h)

    def _whole(self, data: Any, g: Any, state: State, h: Group) -> Any:
        """The step of a parameter that is one piece: the arrays that ``update`` made are taken as they are, if they are its own."""
        s = {name: value.reshape(-1) if hasattr(value, "shape") else value for name, value in state.items()}
        given = dict(s)
        new = self._piece(data.reshape(-1), g.reshape(-1), s, h)
        taken = [new := own(new, data.dtype, [])]
        for name, value in s.items():
            if value is not given.get(name) or name not in given:
                if hasattr(value, "shape"):
                    value = own(value, data.dtype, taken)
                    taken.append(value)
                    value = value.reshape(data.shape)
                state[name] = value
        return new.reshape(data.shape)

    def _loaded(self, p: Tensor, group: Group, saved: State) -> State:
        state = self.fresh(p._data, group)
        for name, value in super()._loaded(p, group, saved).items():
            if not hasattr(state.get(name, p), "shape"):
                state[name] = type(state[name])(value)
            elif np.shape(value) != p.shape:
                raise ShapeError(
                    f"{self._name}: the saved {name} has shape {np.shape(value)}, but its parameter"
                    f"{f' {p.name!r}' if p.name else ''} has shape {p.shape}"
                )
            else:
                # float32 state of a parameter of two bytes is that of its master copy (see GradScaler)
                kind = np.float32 if p.dtype.itemsize == 2 and np.asarray(value).dtype == np.float32 else p.dtype
                state[name] = backend.to_device(np.asarray(value, kind), p.device)
        return state


def own(array: Any, dtype: Any, others: list[Any]) -> Any:
    """``array``, or a copy where it has another dtype, is a view, so perhaps of a gradient, or is one of ``others``."""
    fine = array.dtype == dtype and arena.owns(array) and not any(array is other for other in others)
    return array if fine else array.astype(dtype)


def recorded(closure: Closure) -> Any:
    """Call ``closure`` with recording on, whatever surrounds the step."""
    with record_mode(on()):
        return closure()


def plain(value: Any) -> Any:
    """A hyperparameter as Python numbers: a NumPy scalar would turn a float32 parameter's update into float64."""
    if isinstance(value, (tuple, list)):
        return tuple(map(plain, value))
    return value.item() if isinstance(value, (np.generic, np.ndarray, Tensor)) else value


def replace(p: Tensor, array: Any) -> None:
    """Give ``p`` a new array that nobody else holds; graphs that saved the old one keep it."""
    p._data = array
    if p.node is not None and p.node.extra is not None:
        p.node.extra.shared = False


def _saved(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_saved(v) for v in value]
    return np.array(backend.to_numpy(value)) if hasattr(value, "shape") else value


def _restored(value: Any, p: Tensor) -> Any:
    if isinstance(value, (list, tuple)):
        return [_restored(v, p) for v in value]
    if not hasattr(value, "shape"):
        return value
    array = np.asarray(value).copy()
    return backend.to_device(array, p.device) if array.ndim else array.item()
