"""best/preprocess.py makes of every file, bit for bit, what the study made of it."""

import io
import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from study.products.local_dir import write_preprocessing
from trainables.augmentation.views import InputContract, evaluation_views
from trainables.data.grayscale import GrayRanges, to_json
from trainables.data.images import decode
from trainables.frozen.activations import normalized, scaling
from trainables.preprocess import reduced

CONTRACT = InputContract(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), interpolation="bicubic", crop=0.875)
SIZE, STORED = 32, 40


def made(mode: str, width: int = 70, height: int = 51) -> Image.Image:
    """Noise in every band."""
    random = np.random.default_rng(3)
    bands = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    values = random.integers(0, 256, (height, width, bands), np.uint8)
    return Image.fromarray(values[..., 0] if bands == 1 else values, mode)


def saved(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(made("RGB"), "JPEG", exif=exif)


def gray_16_bit() -> bytes:
    return saved(Image.fromarray(np.random.default_rng(4).integers(0, 65536, (51, 70), np.uint16)))


def several_frames() -> bytes:
    return saved(made("RGB"), "GIF", save_all=True, append_images=[made("RGB", 60, 60)])


FILES = {
    **{mode: saved(made(mode)) for mode in ("L", "LA", "RGB", "RGBA")},
    "CMYK": saved(made("CMYK"), "JPEG"),
    "palette": saved(made("RGB").quantize(16)),
    "palette with a transparent color": saved(made("RGB").quantize(16), transparency=3),
    "gray with a transparent value": saved(made("L"), transparency=7),
    "16-bit gray": gray_16_bit(),
    "32-bit float": saved(Image.fromarray(np.random.default_rng(5).normal(size=(51, 70)).astype(np.float32)), "TIFF"),
    "animated": several_frames(),
    **{f"EXIF orientation {number}": turned(number) for number in range(1, 9)},
    **{
        f"{width} x {height}": saved(made("RGB", width, height))
        for width, height in ((40, 40), (41, 200), (39, 300), (12, 9), (1, 1), (1, 77), (333, 40), (640, 479))
    },
}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("best")
    write_preprocessing(CONTRACT, SIZE, STORED, "picture", GrayRanges(), folder)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_a_file_goes_in_as_the_study_has_it(name: str, shipped: Path) -> None:
    kept = reduced(decode(FILES[name]).pixels, STORED)
    view = torch.from_numpy(evaluation_views([kept], SIZE, CONTRACT))
    expected = normalized(view, *scaling(CONTRACT, "cpu"))
    found = runpy.run_path(str(shipped / "preprocess.py"))["inputs"]([FILES[name]])
    assert found.shape == (1, 3, SIZE, SIZE)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected.numpy())


def test_the_range_of_deep_gray_is_read_beside_it(shipped: Path) -> None:
    program = runpy.run_path(str(shipped / "preprocess.py"))
    scan = Image.fromarray(np.array([[0, 2048, 4095, 9000]], np.uint16))
    numbers = program["read_numbers"]() | {"black": 0, "white": 4095}
    assert program["decoded"](saved(scan), numbers)[0, :, 0].tolist() == [0, 128, 255, 255]


@pytest.mark.parametrize(
    "gray_ranges", [GrayRanges(), GrayRanges((0, 4095), (-1.5, 2.0)), GrayRanges((-1000, 3000), (0.0, 1.0))]
)
def test_deep_gray_is_scaled_as_the_study_scales_it(gray_ranges: GrayRanges, shipped: Path) -> None:
    random = np.random.default_rng(6)
    whole = random.integers(0, 5000, (9, 12), np.uint16)
    pixels = [whole, whole.astype(np.int32) - 1000, random.normal(size=(9, 12)).astype(np.float32)]
    files = [saved(Image.fromarray(each), "TIFF") for each in pixels]
    files += [
        saved(Image.fromarray(whole)),
        saved(Image.fromarray(whole), transparency=int(whole[3, 4])),
        saved(Image.fromarray(whole), "TIFF", tiffinfo={262: 0}),
    ]
    program = runpy.run_path(str(shipped / "preprocess.py"))
    for file in files:
        found = program["decoded"](file, program["read_numbers"]() | to_json(gray_ranges))
        np.testing.assert_array_equal(found, decode(file, gray_ranges).pixels)


def test_it_needs_pillow_and_numpy_alone(shipped: Path) -> None:
    lines = (shipped / "preprocess.py").read_text().splitlines()
    named = {line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert named == {"io", "json", "collections", "pathlib", "typing", "numpy", "PIL"}
    assert "labels.json" in json.loads((shipped / "preprocessing.json").read_text())["how"]
