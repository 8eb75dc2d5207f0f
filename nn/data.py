"""Arrays as data sets: splits, batches, windows of long sequences, and augmentation of images. NumPy in, Tensors out in batches.

An augmentation is called as ``transform(images, generator)``. It draws anew for every image, and alike for all channels of one;
shape and dtype stay as they are (integers are rounded, and clipped to their range). Images are (N, C, H, W), (C, H, W) or (H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minigrad import random
from minigrad.errors import ShapeError
from minigrad.tensor import Tensor, asarray

__all__ = [
    "ArrayDataset",
    "Batches",
    "Brightness",
    "Compose",
    "Crop",
    "Flip",
    "Noise",
    "Rotate",
    "Shift",
    "batches",
    "windows",
]

Array = np.ndarray[Any, Any]
Seed = int | np.random.Generator | None
Transform = Callable[[Array, np.random.Generator], Array]
Range = float | tuple[float, float]


def generator_of(seed: Seed) -> np.random.Generator:
    """A generator for a seed; a generator itself; minigrad's own, which ``mg.manual_seed`` restarts, for None."""
    return random.default_generator() if seed is None else np.random.default_rng(seed)


# ---- data sets and batches ---------------------------------------------------------------------------------------------------


class ArrayDataset:
    """Examples in arrays: example i is ``(x[i], ..., y[i])``, the target last.

    Args:
        arrays: inputs and targets, each with the examples along its first axis. They are not copied.
        transform: ``transform(x, generator)``, applied to the first array of every batch of :func:`batches`, as one whole batch.
            It may be set later: ``train.transform = Flip()`` after :meth:`split` leaves the other parts as they are.

    Raises:
        ShapeError: if the arrays are not equally long.

    Example:
        >>> import numpy as np
        >>> from minigrad import nn
        >>> dataset = nn.ArrayDataset(np.eye(5), np.arange(5))
        >>> len(dataset), dataset[3]
        (5, (array([0., 0., 0., 1., 0.]), np.int64(3)))
        >>> train, test = dataset.split([0.8, 0.2], seed=0)
        >>> len(train), len(test)
        (4, 1)
    """

    def __init__(self, *arrays: Any, transform: Transform | None = None) -> None:
        self.arrays: tuple[Array, ...] = tuple(a.numpy() if isinstance(a, Tensor) else np.asarray(a) for a in arrays)
        self.transform = transform
        shapes = [a.shape for a in self.arrays]
        if not shapes or not all(shapes) or len({shape[0] for shape in shapes}) > 1:
            raise ShapeError(
                f"ArrayDataset: expected one or more arrays with as many rows as there are examples, got the shapes "
                f"{', '.join(map(str, shapes)) or 'of none'}"
            )

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        """``(x[index], ..., y[index])`` for an integer, a slice, or an array of indices or booleans; not transformed."""
        return tuple(a[index] for a in self.arrays)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        about = ", ".join(f"{a.dtype} {a.shape}" for a in self.arrays)
        return f"ArrayDataset({about}" + (f", transform={self.transform!r})" if self.transform else ")")

    def split(self, parts: float | Sequence[float], seed: Seed = 0, stratify: bool | Any = False) -> tuple[ArrayDataset, ...]:
        """Random parts that share no example, and together are the whole. They keep the transform.

        Args:
            parts: fractions that sum to 1 (``[0.8, 0.2]``), or counts that sum to the length; a single one means "and the rest".
            seed: of the shuffle: an integer, a generator, or None for minigrad's own.
            stratify: True, to give every part the classes of the last array in the same proportions (to within one example of
                each class), or an array of other classes.

        Raises:
            ValueError: if the parts do not sum to the whole.
        """
        n, rng = len(self), generator_of(seed)
        sizes = _sizes(parts, n)
        order = rng.permutation(n)
        if stratify is not False:
            kinds = self.arrays[-1] if stratify is True else np.asarray(stratify)
            if kinds.shape != (n,):
                raise ShapeError(
                    f"ArrayDataset.split: stratify: expected one class for each of {n} examples, got {kinds.shape}"
                )
            order = order[np.argsort(_places(kinds[order], rng), kind="stable")]
        cuts = np.cumsum(sizes)[:-1]
        return tuple(ArrayDataset(*self[part], transform=self.transform) for part in np.split(order, cuts))


def _sizes(parts: float | Sequence[float], n: int) -> list[int]:
    if np.ndim(parts) == 0:
        whole = n if isinstance(parts, (int, np.integer)) else 1.0
        parts = [parts, whole - parts]  # type: ignore[operator, list-item]
    shares = np.asarray(parts)
    counts = shares.dtype.kind in "iu"
    total = n if counts else 1
    if shares.ndim != 1 or not shares.size or (shares < 0).any() or not np.isclose(shares.sum(), total, rtol=1e-9):
        raise ValueError(
            f"ArrayDataset.split: parts={parts!r}: expected counts that sum to the {n} examples, or fractions that sum to 1"
        )
    ends = np.cumsum(shares) if counts else np.rint(np.cumsum(shares) * n).astype(int)
    return [int(size) for size in np.diff(ends, prepend=0)]


def _places(kinds: Array, rng: np.random.Generator) -> Array:
    """A place in [0, 1) for every example, with those of each class evenly spread: whatever is cut has its share of each class."""
    places = np.empty(len(kinds))
    for kind in np.unique(kinds):
        (members,) = np.nonzero(kinds == kind)
        places[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return places


class Batches:
    """What :func:`batches` returns: each pass over it is an epoch, in a new order if it shuffles. It has a length."""

    def __init__(self, dataset: ArrayDataset, batch_size: int, shuffle: bool, generator: np.random.Generator, drop_last: bool):
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle
        self.generator, self.drop_last = generator, drop_last

    def __len__(self) -> int:
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        dataset, size = self.dataset, self.batch_size
        order = self.generator.permutation(len(dataset)) if self.shuffle else None
        for start in range(0, len(self) * size, size):
            first, *rest = dataset[slice(start, start + size) if order is None else order[start : start + size]]
            if dataset.transform is not None:
                first = dataset.transform(first, self.generator)
            yield tuple(asarray(a) for a in (first, *rest))

    def __repr__(self) -> str:
        return f"<{len(self)} batches of {self.batch_size} from {self.dataset!r}>"


def batches(
    dataset: ArrayDataset | tuple[Any, ...],
    batch_size: int = 32,
    shuffle: bool = False,
    seed: Seed = None,
    drop_last: bool = False,
) -> Batches:
    """Batches of a data set, as tuples of Tensors on the CPU; dtypes are kept.

    Args:
        dataset: an :class:`ArrayDataset`, or a tuple of arrays.
        batch_size: how many examples to a batch; the last may have fewer.
        shuffle: whether each epoch comes in a new random order.
        seed: for orders and transforms: an integer, a generator, or None for minigrad's own (``mg.manual_seed``).
        drop_last: leave a smaller last batch out.

    Returns:
        Something to iterate over again and again, with a length.

    Example:
        >>> import numpy as np
        >>> from minigrad import nn
        >>> for x, y in nn.batches((np.eye(5), np.arange(5)), batch_size=2):
        ...     print(x.shape, y.tolist())
        (2, 5) [0, 1]
        (2, 5) [2, 3]
        (1, 5) [4]
    """
    if batch_size < 1:
        raise ValueError(f"batches: batch_size={batch_size}: expected 1 or more")
    if not isinstance(dataset, ArrayDataset):
        dataset = ArrayDataset(*dataset)
    return Batches(dataset, int(batch_size), shuffle, generator_of(seed), drop_last)


def windows(*sequences: Any, length: int, axis: int = 0) -> Iterator[tuple[Any, ...]]:
    """Consecutive pieces of long sequences: steps 0 to length - 1 of each, then the next ones; the last may be shorter.

    For truncated backpropagation through time, see :func:`minigrad.nn.tbptt`.

    Args:
        sequences: arrays or Tensors with as many steps each.
        length: how many steps to a piece.
        axis: the axis of time.

    Raises:
        ShapeError: if the sequences are not equally long.

    Example:
        >>> import numpy as np
        >>> from minigrad import nn
        >>> [x.tolist() for (x,) in nn.data.windows(np.arange(5), length=2)]
        [[0, 1], [2, 3], [4]]
    """
    if length < 1:
        raise ValueError(f"windows: length={length}: expected 1 or more")
    steps = [s.shape[axis] for s in sequences]
    if len(set(steps)) != 1:
        raise ShapeError(f"windows: expected sequences of one length along axis {axis}, got {steps}")
    for start in range(0, steps[0], length):
        yield tuple(s[(slice(None),) * (axis % s.ndim) + (slice(start, start + length),)] for s in sequences)


# ---- augmentation ------------------------------------------------------------------------------------------------------------


class _Augmentation:
    """Brings images to (N, C, H, W) and back; a subclass writes :meth:`_apply`."""

    def _apply(self, x: Array, rng: np.random.Generator) -> Array:
        raise NotImplementedError

    def __call__(self, images: Any, generator: np.random.Generator) -> Array:
        x = np.asarray(images)
        if not 2 <= x.ndim <= 4:
            raise ShapeError(
                f"{type(self).__name__}: expected images of shape (N, C, H, W), (C, H, W) or (H, W), got {x.shape}; "
                f"grey images (N, H, W) become x[:, None]"
            )
        if not isinstance(generator, np.random.Generator):
            raise TypeError(f"{type(self).__name__}: expected np.random.default_rng(seed), got {type(generator).__name__}")
        out = self._apply(x.reshape((1,) * (4 - x.ndim) + x.shape), generator)
        return _as_dtype(out, x.dtype).reshape(x.shape[:-2] + out.shape[-2:])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def _as_dtype(values: Array, dtype: np.dtype[Any]) -> Array:
    if values.dtype != dtype and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype, copy=False)


def _floating(x: Array) -> Array:
    """Floats keep their dtype, so that noise on float32 images costs float32; others are computed in float64."""
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def _range(value: Range, middle: float = 0.0) -> tuple[float, float]:
    low, high = (middle - value, middle + value) if np.ndim(value) == 0 else value  # type: ignore[operator, misc]
    if not low <= high:
        raise ValueError(f"expected a number >= 0, or a pair (low, high), got {value!r}")
    return float(low), float(high)


def _each(values: Array) -> Array:
    """One number for each image, (N,) to (N, 1, 1, 1)."""
    return values[:, None, None, None]


class Flip(_Augmentation):
    """``y[r, c] = x[r, W - 1 - c]`` with probability ``p``, else x; ``vertical`` mirrors the rows instead.

    Example:
        >>> import numpy as np
        >>> from minigrad.nn.data import Flip
        >>> Flip(p=1)(np.array([[1, 2], [3, 4]]), np.random.default_rng(0)).tolist()
        [[2, 1], [4, 3]]
    """

    def __init__(self, p: float = 0.5, vertical: bool = False) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Flip: p={p}: expected a probability")
        self.p, self.vertical = p, vertical

    def _apply(self, x: Array, rng: np.random.Generator) -> Array:
        turned = x[:, :, ::-1] if self.vertical else x[..., ::-1]
        return np.where(_each(rng.random(len(x)) < self.p), turned, x)


class Crop(_Augmentation):
    """``y[r, c] = padded[r + i, c + j]``: a window of the padded image, with i and j drawn from all places where it fits.

    He et al. 2016, section 4.2, with ``padding=4`` on images of 32x32.

    Args:
        padding: how many pixels are added on each side.
        size: of the window, one number or (height, width); by default that of the image before padding.
        mode: what is added: ``"constant"`` (``fill``), ``"edge"``, ``"reflect"`` or ``"wrap"``, as in ``np.pad``.
        fill: the value for ``"constant"``.

    Raises:
        ShapeError: if the window is larger than the padded image.

    Example:
        >>> import numpy as np
        >>> from minigrad.nn.data import Crop
        >>> Crop(padding=4)(np.zeros((2, 3, 32, 32), "float32"), np.random.default_rng(0)).shape
        (2, 3, 32, 32)
    """

    def __init__(
        self, padding: int = 0, size: int | tuple[int, int] | None = None, mode: str = "constant", fill: float = 0.0
    ) -> None:
        if mode not in ("constant", "edge", "reflect", "wrap"):
            raise ValueError(f"{type(self).__name__}: mode={mode!r}: expected 'constant', 'edge', 'reflect' or 'wrap'")
        if padding < 0:
            raise ValueError(f"{type(self).__name__}: expected 0 or more pixels, got {padding}")
        self.padding, self.size, self.mode, self.fill = padding, size, mode, fill

    def _apply(self, x: Array, rng: np.random.Generator) -> Array:
        n, _, H, W = x.shape
        h, w = (H, W) if self.size is None else (self.size, self.size) if isinstance(self.size, int) else self.size
        sides = ((0, 0), (0, 0), (self.padding,) * 2, (self.padding,) * 2)
        options: Any = {"constant_values": self.fill} if self.mode == "constant" else {}
        padded = np.pad(x, sides, mode=self.mode, **options)  # type: ignore[call-overload]
        rows, columns = padded.shape[2] - h + 1, padded.shape[3] - w + 1
        if min(rows, columns) < 1 or min(h, w) < 1:
            raise ShapeError(f"Crop: a window of {(h, w)} does not fit into {padded.shape[2:]} (the image with its padding)")
        every = np.lib.stride_tricks.sliding_window_view(padded, (h, w), axis=(2, 3))
        return every[np.arange(n), :, rng.integers(rows, size=n), rng.integers(columns, size=n)]


class Shift(Crop):
    """``y[r, c] = x[r - i, c - j]``: i and j are drawn from -pixels to pixels; what comes in from outside is ``fill``.

    The same as a :class:`Crop` with that padding. With ``mode="wrap"`` every pixel stays in the image.

    Example:
        >>> import numpy as np
        >>> from minigrad.nn.data import Shift
        >>> x = np.arange(9.0).reshape(3, 3)
        >>> sorted(Shift(1, mode="wrap")(x, np.random.default_rng(0)).ravel()) == sorted(x.ravel())
        True
    """

    def __init__(self, pixels: int, mode: str = "constant", fill: float = 0.0) -> None:
        super().__init__(pixels, mode=mode, fill=fill)

    def __repr__(self) -> str:
        return f"Shift({self.padding}, mode={self.mode!r}, fill={self.fill!r})"


class Rotate(_Augmentation):
    """``y(p) = x(R p)``, with p from the centre and R the rotation by an angle drawn from [-degrees, degrees].

    Positive angles turn counter-clockwise, as ``np.rot90``. Between pixels, the four neighbours are weighted by nearness
    (bilinear); multiples of 90 degrees are exact on square images.

    Args:
        degrees: the largest angle either way, or a pair (low, high).
        fill: the value outside the image.

    Example:
        >>> import numpy as np
        >>> from minigrad.nn.data import Rotate
        >>> Rotate((90, 90))(np.array([[1, 2], [3, 4]]), np.random.default_rng(0)).tolist()
        [[2, 4], [1, 3]]
    """

    def __init__(self, degrees: Range, fill: float = 0.0) -> None:
        self.degrees, self.fill = _range(degrees), fill

    def _apply(self, x: Array, rng: np.random.Generator) -> Array:
        n, _, H, W = x.shape
        angle = np.deg2rad(rng.uniform(*self.degrees, n))[:, None, None]
        # cos(pi / 2) is 6e-17 in float64: rounded, a quarter turn meets pixels and not their neighbours.
        cos, sin = np.round(np.cos(angle), 15), np.round(np.sin(angle), 15)
        y, z = np.arange(H)[:, None] - (H - 1) / 2, np.arange(W) - (W - 1) / 2
        row, column = cos * y + sin * z + (H - 1) / 2, cos * z - sin * y + (W - 1) / 2
        top, left = np.floor(row).astype(int), np.floor(column).astype(int)
        down, right = row - top, column - left
        work = _floating(x)
        out = np.zeros(x.shape, work.dtype)
        for i, row_share in ((0, 1 - down), (1, down)):
            for j, column_share in ((0, 1 - right), (1, right)):
                share = (row_share * column_share)[:, None].astype(work.dtype)
                out += share * _pixels(work, top + i, left + j, self.fill)
        return out


def _pixels(x: Array, row: Array, column: Array, fill: float) -> Array:
    """``x[n, :, row[n], column[n]]`` as (N, C, H, W), ``fill`` outside the image."""
    n, _, H, W = x.shape
    inside = (row >= 0) & (row < H) & (column >= 0) & (column < W)
    found = x[np.arange(n)[:, None, None], :, row.clip(0, H - 1), column.clip(0, W - 1)]  # (N, H, W, C)
    return np.where(inside[:, None], np.moveaxis(found, -1, 1), np.asarray(fill, x.dtype))


class Brightness(_Augmentation):
    """``y = a x``, with a drawn from [1 - strength, 1 + strength] for each image, or from a pair (low, high).

    Example:
        >>> import numpy as np
        >>> from minigrad.nn.data import Brightness
        >>> Brightness((2, 2))(np.array([[100, 200]], "uint8"), np.random.default_rng(0)).tolist()
        [[200, 255]]
    """

    def __init__(self, strength: Range) -> None:
        self.strength = _range(strength, 1.0)

    def _apply(self, x: Array, rng: np.random.Generator) -> Array:
        floats = _floating(x)
        factors: Array = _each(rng.uniform(*self.strength, len(x))).astype(floats.dtype)
        return floats * factors


class Noise(_Augmentation):
    """``y = x + std e``, with e ~ N(0, 1) drawn for each pixel and channel.

    Example:
        >>> import numpy as np
        >>> from minigrad.nn.data import Noise
        >>> Noise(0.1)(np.zeros((2, 1, 8, 8), "float32"), np.random.default_rng(0)).dtype
        dtype('float32')
    """

    def __init__(self, std: float) -> None:
        if std < 0:
            raise ValueError(f"Noise: std={std}: expected 0 or more")
        self.std = std

    def _apply(self, x: Array, rng: np.random.Generator) -> Array:
        floats = _floating(x)
        noise: Array = np.asarray(rng.normal(0.0, self.std, x.shape), floats.dtype)
        return floats + noise


class Compose(_Augmentation):
    """``y = f_n(... f_1(x))``: one after the other, with one generator.

    Example:
        >>> import numpy as np
        >>> from minigrad.nn.data import Compose, Flip, Shift
        >>> Compose(Flip(), Shift(2))(np.zeros((4, 1, 8, 8)), np.random.default_rng(0)).shape
        (4, 1, 8, 8)
    """

    def __init__(self, *transforms: Transform) -> None:
        self.transforms = transforms

    def _apply(self, x: Array, rng: np.random.Generator) -> Array:
        for transform in self.transforms:
            x = transform(x, rng)
        return x

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"
