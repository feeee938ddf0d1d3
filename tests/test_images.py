import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from tests.trees import encoded, pixels, png_chunk
from trainables.data.images import PIXEL_LIMIT, DecodeError, decode


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_come_back_exactly(kind: str) -> None:
    picture = decode(encoded(pixels(0), kind))
    assert (picture.width, picture.height, picture.mode) == (48, 40, "RGB")
    np.testing.assert_array_equal(picture.pixels, pixels(0))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "MPO"])
def test_lossy_formats_come_back_nearly(kind: str) -> None:
    picture = decode(encoded(pixels(0), kind, quality=95))
    assert np.abs(picture.pixels.astype(int) - pixels(0)).mean() < 4


def test_the_first_frame_of_an_animation_counts() -> None:
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    for kind in ("GIF", "WEBP", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = saved(red, kind, save_all=True, append_images=[blue], **options)
        assert decode(data).pixels[0, 0].tolist() == [255, 0, 0], kind


@pytest.mark.parametrize(
    ("mode", "color", "seen"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 100, (100, 100, 100)),
        ("LA", (100, 0), (255, 255, 255)),
        ("LA", (0, 51), (204, 204, 204)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
        ("I;16", 257 * 7, (7, 7, 7)),
        ("I;16B", 257 * 200, (200, 200, 200)),
    ],
)
def test_modes_are_seen_as_rgb_on_white(mode: str, color: Any, seen: tuple[int, int, int]) -> None:
    data = saved(Image.new(mode, (3, 2), color), "PNG" if mode in ("LA", "RGBA") else "TIFF")
    picture = decode(data)
    assert picture.mode == mode
    assert picture.pixels.tolist() == [[list(seen)] * 3] * 2


@pytest.mark.parametrize(("mode", "low", "high"), [("I", -1000, 100_000), ("F", 0.0, 1.0), ("F", -3e30, 3e30)])
def test_integers_and_floats_span_from_black_to_white(mode: str, low: float, high: float) -> None:
    image = Image.new(mode, (3, 1), low)
    image.putpixel((1, 0), (low + high) / 2 if mode == "F" else int((low + high) / 2))
    image.putpixel((2, 0), high)
    assert decode(saved(image, "TIFF")).pixels[0, :, 0].tolist() == [0, 128, 255]


def test_not_a_number_is_black() -> None:
    image = Image.fromarray(np.array([[np.nan, 0.0, 1.0, np.inf]], dtype=np.float32))
    assert decode(saved(image, "TIFF")).pixels[0, :, 1].tolist() == [0, 0, 255, 255]


def test_palettes_with_and_without_transparency() -> None:
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 0, 200, 0])
    image.putpixel((0, 0), 0)
    assert decode(saved(image, "PNG")).pixels.tolist() == [[[0, 0, 0], [0, 200, 0]]]
    assert decode(saved(image, "GIF", transparency=0)).pixels.tolist() == [[[255] * 3, [0, 200, 0]]]
    assert decode(saved(image, "PNG", transparency=b"\xff\x00")).pixels.tolist() == [[[0, 0, 0], [255] * 3]]
    with_alpha = Image.new("PA", (1, 1), (0, 0))
    assert decode(saved(with_alpha, "TIFF")).pixels.tolist() == [[[255] * 3]]


def test_exif_orientation_turns_the_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated clockwise
    picture = decode(saved(Image.fromarray(pixels(0)), "PNG", exif=exif))
    assert (picture.width, picture.height) == (40, 48)
    np.testing.assert_array_equal(picture.pixels, np.rot90(pixels(0), -1))


def test_a_name_and_a_missing_jfif_header_do_not_matter() -> None:
    data = encoded(pixels(0), "JPEG")
    length = struct.unpack(">H", data[4:6])[0]
    assert data[6:10] == b"JFIF"
    bare = data[:2] + data[4 + length :]
    np.testing.assert_array_equal(decode(bare).pixels, decode(data).pixels)


def bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png_chunk(b"IDAT", zlib.compress(b"\0")) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # pytest shows what is silenced
@pytest.mark.parametrize("side", [9_460, 20_000])  # just above the limit, and above twice that
def test_a_bomb_is_refused_before_it_is_loaded(side: int) -> None:
    assert side * side > PIXEL_LIMIT
    with pytest.raises(DecodeError, match=r"^more than 89,478,485 pixels$"):
        decode(bomb(side, side))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"camera shy", "not a JPEG, PNG, WEBP, GIF, BMP or TIFF image"),
        (b"\xff\xd8\xff\xe0", "not a JPEG, PNG, WEBP, GIF, BMP or TIFF image"),
        (b"P6 1 1 255 abc", "not a JPEG, PNG, WEBP, GIF, BMP or TIFF image"),  # PPM: PIL could
        (encoded(pixels(0), "JPEG")[:-200], "truncated"),
        (encoded(pixels(0), "PNG")[:-200], "truncated"),
        (flipped(encoded(pixels(0), "PNG"), 60), "damaged"),
    ],
)
def test_what_is_no_image_has_a_plain_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=f"^{reason}$"):
        decode(data)


def test_every_damaged_byte_gives_pixels_or_a_reason() -> None:
    rng = np.random.default_rng(0)
    reasons = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's, about damaged metadata
        for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
            data = encoded(pixels(1, 8, 8), kind)
            for place in rng.integers(0, len(data), 60):
                try:
                    assert decode(flipped(data, place)).pixels.dtype == np.uint8
                except DecodeError as error:
                    reasons.add(str(error))
    unknown = "not a JPEG, PNG, WEBP, GIF, BMP or TIFF image"
    assert reasons == {unknown, "truncated", "damaged", "more than 89,478,485 pixels"}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_whole_image_of_900_megapixels_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = zlib.compressobj(1)
    row = bytes(1 + 30_000 // 8)
    packed = b"".join(rows.compress(row) for _ in range(30_000)) + rows.flush()

    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0))
    picture = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")
    assert len(picture) < 2**20

    def unread(*_: object) -> None:
        raise AssertionError("its pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", unread)
    with pytest.raises(DecodeError, match=r"^more than 89,478,485 pixels$"):
        decode(picture)
