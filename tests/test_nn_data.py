"""Data sets, splits, batches and windows; augmentations by what they leave as it is."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.errors import ShapeError
from minigrad.nn.data import Brightness, Compose, Crop, Flip, Noise, Rotate, Shift, windows

AUGMENTATIONS = {
    "flip": Flip(),
    "flip vertical": Flip(0.5, vertical=True),
    "crop": Crop(2),
    "crop reflect": Crop(2, mode="reflect"),
    "shift": Shift(2),
    "shift wrap": Shift(3, mode="wrap"),
    "rotate": Rotate(30),
    "brightness": Brightness(0.5),
    "noise": Noise(0.3),
    "compose": Compose(Flip(), Rotate(10), Shift(1), Brightness(0.1), Noise(0.01)),
}
SHAPES = [(5, 3, 6, 7), (3, 6, 7), (6, 7), (0, 3, 6, 7), (4, 1, 5, 5)]


def rng(seed=0):
    return np.random.default_rng(seed)


def images(*shape, dtype="float32"):
    x = rng(1).random(shape) * (255 if np.dtype(dtype).kind in "iu" else 1)
    return x.astype(dtype)


# ---- data sets ---------------------------------------------------------------------------------------------------------------


def test_a_dataset_is_indexed_as_its_arrays_are():
    x, y = images(10, 3), np.arange(10)
    dataset = nn.ArrayDataset(x, mg.asarray(y))
    assert len(dataset) == 10
    for index in (3, -1, slice(2, 5), np.array([7, 1]), y > 6):
        found = dataset[index]
        assert len(found) == 2
        np.testing.assert_array_equal(found[0], x[index])
        np.testing.assert_array_equal(found[1], y[index])
    assert [int(label) for _, label in dataset] == list(range(10))
    assert dataset.arrays[0] is x, "arrays are not copied"


@pytest.mark.parametrize("arrays", [(), (np.zeros(3), np.zeros(4)), (np.zeros(()),)])
def test_a_dataset_refuses_what_has_no_common_length(arrays):
    with pytest.raises(ShapeError, match="ArrayDataset: expected one or more arrays"):
        nn.ArrayDataset(*arrays)


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [([0.8, 0.2], [9, 2]), ([6, 3, 2], [6, 3, 2]), (0.5, [6, 5]), (4, [4, 7]), ([1 / 3] * 3, [4, 3, 4]), ([11, 0], [11, 0])],
)
def test_parts_of_a_split_are_the_whole_without_overlap(parts, sizes):
    split = nn.ArrayDataset(np.arange(11), -np.arange(11)).split(parts, seed=3)
    assert [len(part) for part in split] == sizes
    assert sorted(np.concatenate([part.arrays[0] for part in split])) == list(range(11))
    assert all((part.arrays[0] == -part.arrays[1]).all() for part in split), "rows stay together"


def test_splits_are_shuffled_and_follow_their_seed():
    dataset = nn.ArrayDataset(np.arange(100))
    first, again, other = (dataset.split(0.5, seed=seed)[0].arrays[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)
    assert list(first) != sorted(first)


@pytest.mark.parametrize("parts", [[0.5, 0.6], [5, 7], [], [-1, 12], [[11]]])
def test_splits_that_are_not_the_whole_are_refused(parts):
    with pytest.raises(ValueError, match="expected counts that sum to the 11 examples, or fractions that sum to 1"):
        nn.ArrayDataset(np.arange(11)).split(parts)


@pytest.mark.parametrize("parts", [[0.7, 0.3], [61, 39], [0.2, 0.3, 0.5]])
def test_a_stratified_split_gives_every_part_its_share_of_each_class(parts):
    y = rng(2).choice(3, size=100, p=[0.1, 0.3, 0.6])
    dataset = nn.ArrayDataset(np.arange(100), y)
    split = dataset.split(parts, seed=5, stratify=True)
    assert sorted(np.concatenate([part.arrays[0] for part in split])) == list(range(100))
    for part in split:
        for kind in range(3):
            fair = (y == kind).sum() * len(part) / 100
            assert abs((part.arrays[1] == kind).sum() - fair) < 2
    by_another = dataset.split(parts, seed=5, stratify=y == 1)
    assert abs((by_another[0].arrays[1] == 1).mean() - (y == 1).mean()) < 2 / len(by_another[0])
    with pytest.raises(ShapeError, match="one class for each of 100 examples"):
        dataset.split(parts, stratify=np.zeros(3))


def test_parts_keep_the_transform_and_can_get_their_own():
    flip = Flip()
    train, test = nn.ArrayDataset(images(4, 1, 2, 2), transform=flip).split(2)
    assert train.transform is test.transform is flip
    train.transform = None
    assert test.transform is flip


# ---- batches -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_tensors_with_every_example_once(shuffle, drop_last, sizes):
    x, y = images(10, 3), np.arange(10)
    every = nn.batches((x, y), 4, shuffle=shuffle, seed=0, drop_last=drop_last)
    found = list(every)
    assert len(every) == len(sizes) == len(found)
    assert [len(target) for _, target in found] == sizes
    assert all(isinstance(t, mg.Tensor) and t.dtype == a.dtype for batch in found for t, a in zip(batch, (x, y)))
    labels = np.concatenate([target.numpy() for _, target in found])
    assert len(set(labels)) == sum(sizes)
    assert (list(labels) == list(range(sum(sizes)))) is not shuffle
    np.testing.assert_array_equal(np.concatenate([inputs.numpy() for inputs, _ in found]), x[labels])


def order(every):
    return np.concatenate([y.numpy() for _, y in every]).tolist()


def test_each_epoch_has_its_order_and_seeds_repeat_them():
    data = (np.zeros(20), np.arange(20))
    every, same, other = (nn.batches(data, 6, shuffle=True, seed=seed) for seed in (0, 0, 1))
    first, second = order(every), order(every)
    assert first != second
    assert [order(same), order(same)] == [first, second]
    assert order(other) != first
    assert order(nn.batches(data, 6, shuffle=True, seed=np.random.default_rng(0))) == first


def test_without_a_seed_manual_seed_rules():
    data = (np.zeros(20), np.arange(20))
    found = []
    for _ in range(2):
        mg.manual_seed(4)
        found.append(order(nn.batches(data, 6, shuffle=True)))
    assert found[0] == found[1]


def test_a_transform_sees_whole_batches_of_the_first_array_only():
    seen = []

    def double(x, generator):
        assert isinstance(generator, np.random.Generator)
        seen.append(x.shape)
        return 2 * x

    x, y = images(5, 2), images(5, 1)
    dataset = nn.ArrayDataset(x, y, transform=double)
    found = list(nn.batches(dataset, 3))
    assert seen == [(3, 2), (2, 2)]
    np.testing.assert_array_equal(found[1][0].numpy(), 2 * x[3:])
    np.testing.assert_array_equal(found[1][1].numpy(), y[3:])
    np.testing.assert_array_equal(dataset[0][0], x[0])


def test_batches_of_none_are_refused():
    with pytest.raises(ValueError, match="batch_size=0: expected 1 or more"):
        nn.batches((np.zeros(3),), 0)


# ---- windows -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_windows_put_together_are_the_sequences(axis):
    x, y = images(7, 7, 2, dtype="float64"), np.arange(98).reshape(7, 7, 2)
    x, y = (x, y) if axis >= 0 else (np.moveaxis(x, 0, -1), np.moveaxis(y, 0, -1))
    pieces = list(windows(x, y, length=3, axis=axis))
    assert [p.shape[axis] for p, _ in pieces] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate([p for p, _ in pieces], axis), x)
    np.testing.assert_array_equal(np.concatenate([q for _, q in pieces], axis), y)


def test_windows_of_tensors_are_recorded():
    x = mg.ones((5, 2), requires_grad=True)
    last = list(windows(x, length=2))[-1][0]
    last.sum().backward()
    assert x.grad.numpy().sum(axis=1).tolist() == [0, 0, 0, 0, 2]


def test_windows_of_unequal_sequences_are_refused():
    with pytest.raises(ShapeError, match=r"one length along axis 0, got \[3, 4\]"):
        list(windows(np.zeros(3), np.zeros(4), length=2))
    with pytest.raises(ValueError, match="length=0"):
        list(windows(np.zeros(3), length=0))


# ---- augmentation ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_shape_and_dtype_stay_and_the_images_are_left_alone(name, shape, dtype):
    x = images(*shape, dtype=dtype)
    before = x.copy()
    out = AUGMENTATIONS[name](x, rng())
    assert (out.shape, out.dtype) == (x.shape, x.dtype)
    np.testing.assert_array_equal(x, before)
    out[...] = 0
    np.testing.assert_array_equal(x, before, err_msg="the result shares memory with the images")
    np.testing.assert_array_equal(AUGMENTATIONS[name](x, rng(7)), AUGMENTATIONS[name](x, rng(7)))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_image_has_its_own_draw(name):
    x = np.repeat(images(1, 2, 9, 9), 12, axis=0)
    out = AUGMENTATIONS[name](x, rng())
    assert len({image.tobytes() for image in out}) > 1


@pytest.mark.parametrize("name", sorted(set(AUGMENTATIONS) - {"noise", "compose"}))
def test_channels_of_an_image_are_treated_alike(name):
    x = np.repeat(images(6, 1, 9, 9), 3, axis=1)
    out = AUGMENTATIONS[name](x, rng())
    np.testing.assert_array_equal(out[:, 0], out[:, 1])
    np.testing.assert_array_equal(out[:, 0], out[:, 2])


@pytest.mark.parametrize("vertical", [False, True])
def test_two_flips_are_none_and_one_mirrors(vertical):
    x = images(5, 3, 6, 7)
    once = Flip(1, vertical=vertical)(x, rng())
    np.testing.assert_array_equal(once, np.flip(x, -2 if vertical else -1))
    np.testing.assert_array_equal(Flip(1, vertical=vertical)(once, rng()), x)
    np.testing.assert_array_equal(Flip(0)(x, rng()), x)
    mixed = Flip(0.5)(np.repeat(x[:1], 400, axis=0), rng())
    assert 150 < sum((image != x[0]).any() for image in mixed) < 250


@pytest.mark.parametrize("turns", range(-4, 5))
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("side", [7, 8])
def test_quarter_turns_are_exact(turns, dtype, side):
    x = images(3, 2, side, side, dtype=dtype)
    out = Rotate((90 * turns, 90 * turns))(x, rng())
    np.testing.assert_array_equal(out, np.rot90(x, turns, axes=(-2, -1)))


def test_a_rotation_interpolates_a_plane_exactly_inside():
    """Bilinear interpolation reproduces a + b r + c s: the rotated image is that plane at the rotated places."""
    side, degrees = 15, 25.0
    at = np.arange(side) - (side - 1) / 2
    r, s = np.meshgrid(at, at, indexing="ij")
    out = Rotate((degrees, degrees))(2 + 3 * r - 5 * s, rng())
    turn = np.deg2rad(degrees)
    row, column = np.cos(turn) * r + np.sin(turn) * s, np.cos(turn) * s - np.sin(turn) * r
    inside = (abs(row) < 6) & (abs(column) < 6)
    assert inside.sum() > 100
    np.testing.assert_allclose(out[inside], (2 + 3 * row - 5 * column)[inside], rtol=1e-12)
    corner = Rotate((45, 45), fill=-1)(np.ones((15, 15)), rng())[0, 0]
    assert corner == -1


@pytest.mark.parametrize("mode", ["constant", "wrap"])
def test_shifts_move_pixels_by_whole_steps(mode):
    x = images(40, 1, 6, 7, dtype="float64")
    out = Shift(2, mode=mode)(x, rng())
    seen = set()
    for image, moved in zip(x[:, 0], out[:, 0]):
        candidates = {}
        for i in range(-2, 3):
            for j in range(-2, 3):
                shifted = np.roll(image, (i, j), (0, 1))
                if mode == "constant":
                    shifted[: max(i, 0)] = shifted[6 + min(i, 0) :] = 0
                    shifted[:, : max(j, 0)] = shifted[:, 7 + min(j, 0) :] = 0
                candidates[shifted.tobytes()] = (i, j)
        seen.add(candidates[moved.tobytes()])
        if mode == "wrap":
            assert sorted(moved.ravel()) == sorted(image.ravel())
    assert len(seen) > 12, "all directions occur"
    assert {abs(i) for i, _ in seen} == {abs(j) for _, j in seen} == {0, 1, 2}


def test_a_shift_conserves_pixels_that_do_not_leave():
    x = np.zeros((20, 1, 8, 8))
    x[:, :, 3:5, 3:5] = images(20, 1, 2, 2, dtype="float64")
    out = Shift(3)(x, rng())
    np.testing.assert_allclose(out.sum(axis=(1, 2, 3)), x.sum(axis=(1, 2, 3)), rtol=1e-15)
    np.testing.assert_array_equal(Shift(0)(x, rng()), x)
    assert (Shift(3, fill=9.0)(np.zeros((20, 1, 4, 4)), rng()) == 9).any()


def test_a_crop_is_a_window_of_the_image():
    x = np.arange(64.0).reshape(1, 1, 8, 8).repeat(30, axis=0)
    out = Crop(size=(3, 5))(x, rng())
    assert out.shape == (30, 1, 3, 5)
    corners = set()
    for window in out[:, 0]:
        i, j = divmod(int(window[0, 0]), 8)
        np.testing.assert_array_equal(window, x[0, 0, i : i + 3, j : j + 5])
        corners.add((i, j))
    assert {i for i, _ in corners} == set(range(6))
    assert {j for _, j in corners} == set(range(4))
    with pytest.raises(ShapeError, match=r"a window of \(9, 9\) does not fit into \(8, 8\)"):
        Crop(size=9)(x, rng())


def test_brightness_scales_each_image_by_one_factor():
    x = 0.1 + images(50, 3, 4, 4, dtype="float64")
    factors = Brightness(0.4)(x, rng()) / x
    np.testing.assert_allclose(factors, factors[:, :1, :1, :1].repeat(3, 1).repeat(4, 2).repeat(4, 3), rtol=1e-12)
    assert 0.6 <= factors.min() < 0.7 < 1.3 < factors.max() <= 1.4
    assert Brightness((2, 2))(np.array([[200, 3]], "uint8"), rng()).tolist() == [[255, 6]]
    np.testing.assert_array_equal(Brightness(0)(x, rng()), x)


def test_noise_has_its_standard_deviation():
    x = images(100, 1, 20, 20, dtype="float64")
    noise = Noise(0.25)(x, rng()) - x
    assert abs(noise.std() - 0.25) < 0.003
    assert abs(noise.mean()) < 0.004
    np.testing.assert_array_equal(Noise(0)(x, rng()), x)


def test_compose_is_one_after_the_other_from_one_generator():
    x, g = images(6, 1, 7, 7), rng(3)
    np.testing.assert_array_equal(Compose(Flip(), Noise(0.1))(x, rng(3)), Noise(0.1)(Flip()(x, g), g))
    assert repr(Compose(Flip(), Shift(2))) == "Compose(Flip(p=0.5, vertical=False), Shift(2, mode='constant', fill=0.0))"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flip(2), "p=2: expected a probability"),
        (lambda: Shift(-1), "expected 0 or more pixels"),
        (lambda: Crop(1, mode="mirror"), "expected 'constant', 'edge', 'reflect' or 'wrap'"),
        (lambda: Rotate(-5), "expected a number >= 0, or a pair"),
        (lambda: Noise(-1), "expected 0 or more"),
        (lambda: Flip()(np.zeros(4), rng()), r"expected images of shape \(N, C, H, W\)"),
        (lambda: Flip()(np.zeros((4, 4)), 0), r"expected np.random.default_rng\(seed\), got int"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
