import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trees import pixels
from trainables.augmentation.policies import POLICIES, Policy
from trainables.augmentation.views import InputContract, ViewKey, evaluation_views, training_views

CONTRACT = InputContract(mean=(0.5, 0.25, 0.75), std=(0.5, 0.5, 0.5), interpolation="bilinear", crop=1.0)
WHERE = ViewKey(study_seed=1, repeat=0, epoch=1)
RANDOM = [name for name, policy in POLICIES.items() if policy]


def view(
    picture: np.ndarray, policy: str, item: int = 0, occurrence: int = 0, where: ViewKey = WHERE, size: int = 16
) -> np.ndarray:
    return training_views([picture], np.array([item]), np.array([occurrence]), where, policy, size, CONTRACT)[0]


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=10)
@given(order=st.permutations(range(6)), count=st.integers(1, 6), threads=st.integers(1, 3))
def test_a_view_depends_on_its_key_alone(policy: str, order: list[int], count: int, threads: int) -> None:
    items = np.array([3, 1, 4, 159, 26, 3])
    occurrence = np.array([0, 0, 0, 0, 0, 1])
    pictures = [pixels(int(item), 20 + int(item) % 7, 24) for item in items]
    some = order[:count]
    chosen = [pictures[i] for i in some]
    batch = training_views(chosen, items[some], occurrence[some], WHERE, policy, 16, CONTRACT, threads)
    for row, i in enumerate(some):
        np.testing.assert_array_equal(batch[row], view(pictures[i], policy, int(items[i]), int(occurrence[i])))


@pytest.mark.parametrize("policy", RANDOM)
def test_every_part_of_the_key_counts(policy: str) -> None:
    picture = pixels(1, 100, 120)
    views = [view(picture, policy), view(picture, policy, item=1), view(picture, policy, occurrence=1)]
    views += [view(picture, policy, where=dataclasses.replace(WHERE, **{part: 7})) for part in vars(WHERE)]
    assert len({v.tobytes() for v in views}) == 6
    np.testing.assert_array_equal(view(picture, policy), views[0])


@pytest.mark.parametrize("crop", [1.0, 0.875, 0.5])
def test_without_augmentation_a_view_is_the_evaluation_view(crop: float) -> None:
    contract = dataclasses.replace(CONTRACT, crop=crop)
    pictures = [pixels(1, 40, 60), pixels(2, 60, 40)]
    trained = training_views(pictures, np.arange(2), np.zeros(2, np.int64), WHERE, "none", 16, contract)
    np.testing.assert_array_equal(trained, evaluation_views(pictures, 16, contract))


def test_the_evaluation_view_is_the_center_square() -> None:
    # Half of the shorter side of 32 is 16: rows 8 to 24 of 32, columns 16 to 32 of 48; nothing is resampled.
    picture = pixels(1, 32, 48)
    contract = dataclasses.replace(CONTRACT, crop=0.5)
    np.testing.assert_array_equal(evaluation_views([picture], 16, contract)[0], picture[8:24, 16:32])


def test_the_contracts_interpolation_is_used() -> None:
    picture = pixels(1, 40, 40)
    kinds = [
        evaluation_views([picture], 16, dataclasses.replace(CONTRACT, interpolation=kind))
        for kind in ("nearest", "bilinear", "bicubic", "lanczos")
    ]
    assert len({v.tobytes() for v in kinds}) == 4


def shared(monkeypatch: pytest.MonkeyPatch, **changes: object) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """40 views under one policy and under the same with `changes`."""
    base = Policy(area=(0.5, 1.0))
    monkeypatch.setitem(POLICIES, "one", base)
    monkeypatch.setitem(POLICIES, "other", dataclasses.replace(base, **changes))
    picture = pixels(3, 64, 80)
    return [view(picture, "one", i) for i in range(40)], [view(picture, "other", i) for i in range(40)]


def test_a_flip_is_an_exact_mirror_of_half_the_views(monkeypatch: pytest.MonkeyPatch) -> None:
    flipped, plain = shared(monkeypatch, flip=False)
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, plain, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(flipped, plain, strict=True)]
    assert sum(mirrored) + sum(same) == 40
    assert 10 <= sum(mirrored) <= 30


def test_policies_share_the_cut_and_differ_where_one_erases(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, erased = shared(monkeypatch, erase=0.5)
    touched = 0
    for a, b in zip(plain, erased, strict=True):
        changed = (a != b).any(axis=2)
        touched += bool(changed.any())
        assert (b[changed] == (128, 64, 191)).all()  # the contract's mean color: 255 x (0.5, 0.25, 0.75)
        assert changed.sum() <= 49  # at most 20% of 16 x 16, rounded to a square of 7
    assert 10 <= touched <= 30


def test_a_wider_cut_moves_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a ramp from left to right, the mean of a view says where it was cut.
    ramp = np.broadcast_to(np.linspace(0, 255, 200).astype(np.uint8)[None, :, None], (100, 200, 3))
    light = POLICIES["light"]
    assert light is not None
    monkeypatch.setitem(POLICIES, "wider", dataclasses.replace(light, area=(0.4, 1.0)))
    where = [[view(ramp, name, i).mean() for i in range(60)] for name in ("light", "wider")]
    assert np.corrcoef(where)[0, 1] > 0.95


def test_policies_share_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Policy(area=(1.0, 1.0), ratio=(1.0, 1.0))
    monkeypatch.setitem(POLICIES, "mild", dataclasses.replace(whole, colour=0.1))
    monkeypatch.setitem(POLICIES, "vivid", dataclasses.replace(whole, colour=0.4))
    gray = np.full((20, 20, 3), 100, np.uint8)
    for i in range(20):
        mild, vivid = (int(view(gray, name, i)[0, 0, 0]) - 100 for name in ("mild", "vivid"))
        assert abs(vivid - 4 * mild) <= 3  # each is rounded to a whole number


def test_color_keeps_gray_gray_and_changes_brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICIES, "colour", Policy(area=(1.0, 1.0), ratio=(1.0, 1.0), flip=False, colour=0.4))
    gray = np.full((20, 20, 3), 100, np.uint8)
    values = [view(gray, "colour", i) for i in range(50)]
    assert all((v == v[0, 0, 0]).all() for v in values)
    brightness = [int(v[0, 0, 0]) for v in values]
    assert 60 <= min(brightness) < 75
    assert 125 < max(brightness) <= 140


def test_what_comes_in_from_outside_has_the_mean_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICIES, "shift", Policy(area=(1.0, 1.0), ratio=(1.0, 1.0), flip=False, shift=0.5))
    white = np.full((20, 20, 3), 255, np.uint8)
    shares = []
    for i in range(50):
        v = view(white, "shift", i, size=20)
        colours = {tuple(colour) for colour in v.reshape(-1, 3).tolist()}
        assert colours <= {(255, 255, 255), (128, 64, 191)}
        shares.append((v != 255).any(axis=2).mean())
    assert 0.3 < np.mean(shares) < 0.6  # 1 - 0.75^2 = 0.44


SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.sampled_from([(1, 3000), (3000, 1), (1, 1), (2, 999)])


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=30)
@given(shape=SIZES, size=st.integers(1, 33), item=st.integers(0, 2**40))
def test_any_shape_gives_a_view(policy: str, shape: tuple[int, int], size: int, item: int) -> None:
    picture = np.full((*shape, 3), 9, np.uint8)
    v = view(picture, policy, item, size=size)
    assert v.shape == (size, size, 3)
    assert v.dtype == np.uint8
    if policy in ("none", "crop", "light"):
        assert (v == 9).all()


def test_the_image_is_left_as_it_was() -> None:
    picture = pixels(1)
    before = picture.copy()
    for policy in POLICIES:
        for item in range(10):
            view(picture, policy, item)
    np.testing.assert_array_equal(picture, before)
