"""More than 8 bits of gray: one range for a data set, which every reader of it shares."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from study.predict import main
from study.products.best import load_best
from tests.finished import finish
from tests.tiny import make_pictures
from tests.trees import encoded, png_chunk, put
from trainables.data.grayscale import GrayRanges, described, from_json, gray_ranges_of, to_json
from trainables.data.images import DecodeError, decode
from trainables.data.manifest import Candidate, manifest_hash, scan
from trainables.data.pixels import open_pixels
from trainables.data.trial_data import open_trial_data

UNSIGNED, SIGNED, FLOAT = 1, 2, 3


def tiff(values: np.ndarray, white_is_zero: bool = False, order: Literal["<", ">"] = "<", **more: int) -> bytes:
    """An uncompressed gray TIFF as any program may write it; `max_sample` is its tag MaxSampleValue."""
    kind = {"u": UNSIGNED, "i": SIGNED, "f": FLOAT}[values.dtype.kind]
    body = values.astype(values.dtype.newbyteorder(order)).tobytes()
    height, width = values.shape
    tags = {256: width, 257: height, 258: 8 * values.itemsize, 259: 1, 262: 0 if white_is_zero else 1, 273: 8}
    tags |= {277: 1, 278: height, 279: len(body)} | ({281: more["max_sample"]} if more else {})
    tags |= {339: kind} if kind != UNSIGNED else {}
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, 4 if tag in (256, 257, 273, 278, 279) else 3, 1)
        + struct.pack(f"{order}I" if tag in (256, 257, 273, 278, 279) else f"{order}H2x", value)
        for tag, value in sorted(tags.items())
    )
    body += bytes(len(body) % 2)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(body))
    return head + body + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def row(*values: float, dtype: type = np.uint16) -> np.ndarray:
    return np.array([values], dtype=dtype)


def gray_levels(data: bytes, known: GrayRanges | None = None) -> list[int]:
    return decode(data, known).pixels[0, :, 0].tolist()


def scanned(folder: Path, **files: bytes) -> pd.DataFrame:
    for name, data in files.items():
        put(folder / "a" / name, data)
    return scan(folder, [Candidate(f"a/{name}", "a") for name in files]).set_index("path", drop=False)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "values",
    [
        row(0, 257 * 100, 65535),
        row(0, 2**32 / 255 * 100, 2**32 - 1, dtype=np.uint32),
        row(-1000, -1000 + 3 * 100, -1000 + 3 * 255, dtype=np.int16),
        row(-1000, -1000 + 3 * 100, -1000 + 3 * 255, dtype=np.int32),
        row(0, 100, 255, dtype=np.float32),
    ],
)
def test_where_white_is_zero_all_is_the_other_way_round(values: np.ndarray, order: Literal["<", ">"]) -> None:
    assert gray_levels(tiff(values, order=order)) == [0, 100, 255]
    assert gray_levels(tiff(values, white_is_zero=True, order=order)) == [255, 155, 0]


def test_compressed_white_is_zero_too() -> None:
    stream = io.BytesIO()
    Image.fromarray(row(0, 257 * 100, 65535)).save(stream, "TIFF", compression="tiff_lzw", tiffinfo={262: 0})
    assert gray_levels(stream.getvalue()) == [255, 155, 0]


@pytest.mark.parametrize("dtype", [np.float64, np.uint64])
def test_what_pillow_has_no_mode_for_is_not_called_damaged(dtype: type) -> None:
    with pytest.raises(DecodeError, match=r"^a kind of TIFF that cannot be read$"):
        decode(tiff(row(0, 1, dtype=dtype)))


def test_a_gray_that_is_transparent_is_seen_on_white() -> None:
    stream = io.BytesIO()
    Image.fromarray(row(0, 257 * 100, 257 * 100 + 1)).save(stream, "PNG", transparency=257 * 100)
    assert gray_levels(stream.getvalue()) == [0, 255, 100]


def test_of_a_color_of_16_bits_the_high_bytes_are_transparent() -> None:
    body = np.array([[[0x1234, 0x5678, 0x9ABC], [0x3400, 0x7800, 0xBC00]]], dtype=">u2").tobytes()

    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    data += png_chunk(b"tRNS", struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC))
    data += png_chunk(b"IDAT", zlib.compress(b"\0" + body)) + png_chunk(b"IEND", b"")
    assert decode(data).pixels.tolist() == [[[255, 255, 255], [0x34, 0x78, 0xBC]]]


@pytest.mark.parametrize(
    ("brightest", "white"),
    [(200, 255), (255, 255), (256, 511), (1023, 1023), (3000, 4095), (4096, 8191), (16383, 16383), (65535, 65535)],
)
def test_white_is_the_least_that_holds_all(tmp_path: Path, brightest: int, white: int) -> None:
    dark, bright = encoded(row(0, brightest // 2)), tiff(row(0, brightest))
    manifest = scanned(
        tmp_path, **{"dark.png": dark, "bright.tif": bright, "plain.png": encoded(row(7, dtype=np.uint8))}
    )
    assert gray_ranges_of(manifest) == GrayRanges(integers=(0.0, white))
    assert manifest["white"].fillna(-1).to_dict() == {"a/bright.tif": white, "a/dark.png": white, "a/plain.png": -1}
    pixels = open_pixels(manifest, tmp_path, 48, tmp_path / "cache")
    by_name = {path: pixels[item][0, -1, 0] for path, item in manifest["item"].items()}
    assert by_name == {
        "a/bright.tif": round(brightest / white * 255),
        "a/dark.png": round(brightest // 2 / white * 255),
        "a/plain.png": 7,
    }


def test_what_files_declare_counts(tmp_path: Path) -> None:
    manifest = scanned(tmp_path, **{"a.tif": tiff(row(0, 800), max_sample=4095), "b.png": encoded(row(0, 900))})
    assert gray_ranges_of(manifest) == GrayRanges(integers=(0.0, 4095.0))
    full = scanned(tmp_path / "full", **{"a.tif": tiff(row(0, 800), max_sample=65535)})
    assert gray_ranges_of(full) == GrayRanges(integers=(0.0, 1023.0)), "what a sample can hold is no statement"


def test_negative_numbers_and_floats_span_what_all_of_them_hold(tmp_path: Path) -> None:
    files = {
        "air.tif": tiff(row(-1000, -500, dtype=np.int16)),
        "bone.tif": tiff(row(0, 1550, dtype=np.int16)),
        "cold.tif": tiff(row(-1, 0.5, np.nan, dtype=np.float32)),
        "warm.tif": tiff(row(0, 4, np.inf, dtype=np.float32)),
    }
    manifest = scanned(tmp_path, **files)
    assert gray_ranges_of(manifest) == GrayRanges(integers=(-1000.0, 1550.0), floats=(-1.0, 4.0))
    pixels = open_pixels(manifest, tmp_path, 48, tmp_path / "cache")
    found = [pixels[item][0, :, 0].tolist() for item in manifest["item"]]
    assert found == [[0, 50], [100, 255], [0, 76, 0], [51, 255, 255]]  # 76.5 goes to the even number


def test_a_range_stays_with_a_part_of_the_data(tmp_path: Path) -> None:
    manifest = scanned(tmp_path, **{"a.png": encoded(row(0, 900)), "b.png": encoded(row(0, 4000))})
    assert gray_ranges_of(manifest[manifest["path"] == "a/a.png"]) == GrayRanges(integers=(0.0, 4095.0))
    other = scanned(tmp_path / "other", **{"a.png": encoded(row(0, 900)), "b.png": encoded(row(0, 1000))})
    keys = [open_pixels(each[:1], root, 48, tmp_path / "cache").key for each, root in
            ((manifest, tmp_path), (other, tmp_path / "other"))]  # fmt: skip
    assert len(set(keys)) == 2, "one file, two ranges"


def test_a_data_set_of_8_bits_has_no_range(tmp_path: Path) -> None:
    manifest = scanned(tmp_path, **{"a.png": encoded(row(0, 200, dtype=np.uint8))})
    assert not {"black", "white"} & set(manifest.columns)
    assert gray_ranges_of(manifest) == GrayRanges()
    assert described(manifest) == []


def test_twins_are_found_in_the_range_of_the_data(tmp_path: Path) -> None:
    shown = np.random.default_rng(0).integers(0, 256, (6, 6), dtype=np.uint8)
    shown = np.asarray(Image.fromarray(shown).resize((60, 60), Image.Resampling.BICUBIC))
    deep = (shown.astype(np.uint16) << 4) + 15
    files = {"8.png": encoded(shown), "12.png": encoded(deep), "12.tif": tiff(deep), "dark.png": encoded(deep // 4)}
    manifest = scanned(tmp_path, **files).sort_values("item")
    groups = dict(zip(manifest["path"], manifest["group"], strict=True))
    assert groups["a/12.png"] == groups["a/12.tif"] == groups["a/8.png"]
    assert groups["a/dark.png"] != groups["a/8.png"], "a quarter as bright is another image"


def test_the_run_says_which_range_was_taken(tmp_path: Path) -> None:
    files = {"a.png": encoded(row(0, 900)), "b.png": encoded(row(0, 3000)), "c.tif": tiff(row(0, 1, dtype=np.float32))}
    assert described(scanned(tmp_path, **files)) == [
        "more than 8 bits of gray: 2 images, read as 12 bit, 4,096 gray levels from 0 to 4,095, "
        "the smallest range that holds all of them",
        "gray in floats: 1 image, scaled from 0 to 1, their darkest and brightest samples",
    ]


def test_the_range_is_no_part_of_the_datas_version(tmp_path: Path) -> None:
    manifest = scanned(tmp_path, **{"a.png": encoded(row(0, 900))})
    assert manifest_hash(manifest) == manifest_hash(manifest.drop(columns=["black", "white"]))


@pytest.mark.parametrize("known", [GrayRanges(), GrayRanges((0.0, 4095.0)), GrayRanges((-1000.0, 3000.0), (0.0, 1.0))])
def test_the_winner_is_told_the_range(known: GrayRanges) -> None:
    assert from_json(to_json(known)) == known
    assert from_json({}) == GrayRanges(), "of a study before there were ranges"


def test_new_images_are_read_in_the_range_of_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def deep_pictures(folder: Path, **options: Any) -> Path:
        for file in make_pictures(folder, **options).rglob("*.png"):
            file.write_bytes(encoded(np.asarray(Image.open(file).convert("L")).astype(np.uint16) * 16 + 8))
        return folder

    monkeypatch.setattr("tests.finished.make_pictures", deep_pictures)
    done = finish(tmp_path)
    assert load_best(done.out).gray_ranges == GrayRanges(integers=(0.0, 4095.0))
    assert open_trial_data(done.config, done.place).pixels[0].max() > 100, "and not 16 of 256 levels"
    shown = np.random.default_rng(0).integers(0, 256, (20, 24), dtype=np.uint8)
    twins = [put(tmp_path / "8.png", encoded(shown)), put(tmp_path / "16.png", encoded(shown.astype(np.uint16) * 16))]
    capsys.readouterr()
    assert main([str(done.out), *map(str, twins), "--top", "3"]) == 0
    said = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert said[0] == said[1]
