import io
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from tests.trees import class_folders, encoded, pixels, put
from trainables.data import duplicates
from trainables.data.duplicates import conflicting_groups, find_groups, perceptual_hash, thumbnail
from trainables.data.images import decode
from trainables.data.manifest import scan
from trainables.data.sources import folder


def groups_of(pictures: list[np.ndarray]) -> list[int]:
    thumbnails = [thumbnail(picture) for picture in pictures]
    hashes = np.array([perceptual_hash(one) for one in thumbnails], dtype=np.uint64)
    names = [str(i) for i in range(len(pictures))]  # no two alike byte for byte
    return find_groups(names, hashes, np.stack(thumbnails)).tolist()


def resaved(picture: np.ndarray, quality: int, scale: float = 1.0) -> np.ndarray:
    image = Image.fromarray(picture)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return decode(stream.getvalue()).pixels


def test_equal_bytes_are_one_group_whatever_they_look_like() -> None:
    hashes = np.array([0, 2**63, 5], dtype=np.uint64)
    noise = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    assert find_groups(["x", "y", "x"], hashes, noise).tolist() == [0, 1, 0]


def test_an_image_saved_again_or_resized_is_the_same_image() -> None:
    pictures = [pixels(seed, 120, 160) for seed in range(20)]
    again = [
        *(resaved(one, 50) for one in pictures),
        *(resaved(one, 90, 0.5) for one in pictures),
        *(resaved(one, 90, 2.0) for one in pictures),
    ]
    assert groups_of([*pictures, *again]) == list(range(20)) * 4


def test_groups_are_joined_through_an_image_between() -> None:
    first = pixels(0).astype(int) // 2
    chain = [(first + shift).astype(np.uint8) for shift in (0, 5, 10)]  # 10 levels apart is no duplicate
    assert groups_of(chain) == [0, 0, 0]
    assert groups_of([chain[0], chain[2]]) == [0, 1]


def test_a_changed_detail_or_color_is_another_image() -> None:
    def drawing(colour: str, mouth: int) -> np.ndarray:
        image = Image.new("RGB", (160, 160), "white")
        draw = ImageDraw.Draw(image)
        draw.ellipse((10, 10, 150, 150), fill=colour)
        draw.rectangle((50, mouth, 110, mouth + 12), fill="black")
        return np.asarray(image)

    assert groups_of([drawing("orange", 90), drawing("orange", 110), drawing("blue", 90)]) == [0, 1, 2]


def test_none_of_the_digits_is_another() -> None:
    images = np.rint(cast(Any, load_digits()).images[:600] * (255 / 16)).astype(np.uint8)
    assert groups_of([np.repeat(image[:, :, None], 3, axis=2) for image in images]) == list(range(600))


def test_a_crowd_under_one_hash_is_told_apart_by_its_thumbnails() -> None:
    crowd = np.random.default_rng(0).integers(0, 256, (1500, 32, 32, 3), dtype=np.uint8)
    names = [str(i) for i in range(1500)]
    assert find_groups(names, np.zeros(1500, dtype=np.uint64), crowd).tolist() == list(range(1500))


def test_pairs_are_found_across_blocks_of_hashes() -> None:
    rng = np.random.default_rng(0)
    thumbnails = rng.integers(0, 256, (1300, 32, 32, 3), dtype=np.uint8)
    hashes = rng.integers(0, 2**64, 1300, dtype=np.uint64)
    for first, second in ((3, 1200), (600, 1250)):
        thumbnails[second], hashes[second] = thumbnails[first], hashes[first] ^ np.uint64(0b111)
    groups = find_groups([f"{i:04}" for i in range(1300)], hashes, thumbnails)
    assert groups[[1200, 1250]].tolist() == [3, 600]
    assert len(np.unique(groups)) == 1298


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 120), st.sampled_from([3, 2**20]))
def test_groups_are_those_of_comparing_all_with_all(seed: int, count: int, at_once: int) -> None:
    rng = np.random.default_rng(seed)
    bases = rng.integers(0, 2**64, 1 + count // 4, dtype=np.uint64)
    flips = np.uint64(1) << rng.integers(0, 64, (count, 8), dtype=np.uint64)
    chosen = flips * (rng.random((count, 8)) < rng.random((count, 1))).astype(np.uint64)
    hashes = bases[rng.integers(0, len(bases), count)] ^ np.bitwise_xor.reduce(chosen, axis=1)
    looks = rng.integers(9, 247, (1 + count // 10, 32, 32, 3))
    thumbnails = looks[rng.integers(0, len(looks), count)] + rng.integers(-9, 10, (count, 1, 1, 1))
    names = [str(name) for name in rng.integers(0, 3 * count, count)]
    first = [names.index(name) for name in names]  # of equal bytes, which look the same
    hashes, thumbnails = hashes[first], thumbnails[first]
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= 6
    apart = np.abs(thumbnails[:, None].astype(int) - thumbnails[None]) if count <= 40 else None
    asked: list[int] = []

    def load(positions: np.ndarray) -> np.ndarray:
        asked.extend(positions.tolist())
        return thumbnails[positions].astype(np.uint8)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_AT_ONCE", at_once)
        patch.setattr(duplicates, "_PAIRS", min(at_once, 4096))
        patch.setattr(duplicates, "_LOADED", min(at_once, 4096))
        found = find_groups(names, hashes, load)
        pairs = np.concatenate([np.empty((0, 2), np.int64), *duplicates._near_pairs(hashes)])
    expected = np.argwhere(np.triu(near, 1))
    assert sorted(map(tuple, np.sort(pairs, axis=1).tolist())) == sorted(map(tuple, expected.tolist()))
    alone = np.flatnonzero(near.sum(axis=1) == 1)
    assert not set(alone) & set(asked), "a thumbnail that nothing is near to is not looked at"
    if apart is not None:
        same = near & (apart.mean(axis=(2, 3, 4)) <= 6)  # a shift of at most 18 is no worse in a block
        blocks = thumbnails.reshape(count, 8, 4, 8, 4, 3).mean(axis=(2, 4))
        same &= np.abs(blocks[:, None] - blocks[None]).max(axis=(2, 3, 4)) <= 16
        same |= np.array(names)[:, None] == np.array(names)[None]
        groups = np.arange(count)
        for _ in range(count):
            groups = np.where(same, groups[None], count).min(axis=1)
        assert found.tolist() == groups.tolist()


def test_a_difference_counts_on_average_and_in_the_worst_block() -> None:
    gray = np.full((32, 32, 3), 100, dtype=np.uint8)
    spot, weak_spot, checks, weak_checks = (gray.copy() for _ in range(4))
    spot[8:12, 4:8] += 17
    weak_spot[8:12, 4:8] += 16
    for board, contrast in ((checks, 7), (weak_checks, 6)):  # every block's mean stays 100
        board[::2, ::2] += contrast
        board[1::2, 1::2] += contrast
        board[::2, 1::2] -= contrast
        board[1::2, ::2] -= contrast

    def together(one: np.ndarray, distance: int = 0) -> bool:
        hashes = np.array([0, 2**distance - 1], dtype=np.uint64)
        return find_groups(["a", "b"], hashes, np.stack([gray, one])).tolist() == [0, 0]

    assert [together(one) for one in (spot, weak_spot, checks, weak_checks)] == [False, True, False, True]
    assert [together(gray, distance) for distance in (6, 7)] == [True, False]


def test_the_same_image_under_two_labels_is_reported(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 2, "dog": 2})
    put(tmp_path / "dog/9.jpg", encoded(pixels(1), "JPEG", quality=80))
    put(tmp_path / "dog/same.png", encoded(pixels(3)))
    manifest = scan(tmp_path, folder.candidates(tmp_path, None).candidates)
    assert list(manifest["group"]) == [0, 1, 2, 3, 1, 3]
    assert conflicting_groups(manifest) == [[1, 4]]
