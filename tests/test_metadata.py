"""What lies beside the pixels of a file neither kills them nor changes them."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from tests.trees import encoded, pixels, png_chunk, put
from trainables.data.images import DecodeError, decode
from trainables.data.manifest import Candidate, scan

# A negative number in a field without a sign: read by all, and no program can write it back.
BROKEN_TAG = (0x128, 8, struct.pack("<hH", -3, 0))


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # pytest shows what is silenced


def upright(orientation: int, shown: np.ndarray) -> np.ndarray:
    """What EXIF 2.32, section 4.6.4, says of an array that is stored with this orientation."""
    turns: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        2: np.fliplr,
        3: lambda stored: np.rot90(stored, 2),
        4: np.flipud,
        5: lambda stored: stored.swapaxes(0, 1),
        6: lambda stored: np.rot90(stored, -1),
        7: lambda stored: np.rot90(stored.swapaxes(0, 1), 2),
        8: lambda stored: np.rot90(stored, 1),
    }
    return turns[orientation](shown) if orientation in turns else shown


def exif(orientation: int, *more: tuple[int, int, bytes]) -> bytes:
    tags = sorted([(0x112, 3, struct.pack("<I", orientation)), *more])
    listed = b"".join(struct.pack("<HHI", tag, kind, 1) + value for tag, kind, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + listed + bytes(4)


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    return png[:33] + b"".join(chunks) + png[33:]  # after the signature and IHDR


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + jpeg[2:]


def with_exif(kind: str, array: np.ndarray, block: bytes) -> bytes:
    """A lossless file with this EXIF block, but for JPEG; a TIFF holds the tags themselves, `block` must be small."""
    if kind == "JPEG":
        return with_segment(encoded(array, kind, quality=95), 0xE1, b"Exif\0\0" + block)
    if kind == "PNG":
        return with_chunks(encoded(array, kind), png_chunk(b"eXIf", block))
    if kind == "WEBP":
        return encoded(array, kind, lossless=True, exif=b"Exif\0\0" + block)
    return tiff_with_tags(array, block)


def tiff_with_tags(array: np.ndarray, block: bytes) -> bytes:
    data = encoded(array, "TIFF")
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    own = [data[start + 2 + 12 * i :][:12] for i in range(count)]
    added = [block[10 + 12 * i :][:12] for i in range(struct.unpack_from("<H", block, 8)[0])]
    entries = sorted([*own, *added], key=lambda entry: struct.unpack_from("<H", entry)[0])
    data += bytes(len(data) % 2)
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_with_a_tag_that_cannot_be_written_is_turned(kind: str, orientation: int) -> None:
    picture = decode(with_exif(kind, pixels(0), exif(orientation, BROKEN_TAG)))
    expected = upright(
        orientation, decode(encoded(pixels(0), "JPEG", quality=95)).pixels if kind == "JPEG" else pixels(0)
    )
    np.testing.assert_array_equal(picture.pixels, expected)
    assert picture.turned == (orientation > 1)
    assert (picture.height, picture.width) == expected.shape[:2]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"no EXIF at all", exif(6)[:14], exif(77)])
def test_a_broken_block_leaves_an_image_as_it_is(kind: str, block: bytes) -> None:
    picture = decode(with_exif(kind, pixels(0), block))
    assert not picture.turned
    assert (picture.height, picture.width) == (40, 48)


@pytest.mark.parametrize("pointer", [34665, 34853])  # to the EXIF and GPS directories
def test_a_tiff_whose_metadata_point_into_nothing(pointer: int) -> None:
    for place in (8, 2**31):
        data = tiff_with_tags(pixels(0), exif(6, (pointer, 4, struct.pack("<I", place)), BROKEN_TAG))
        np.testing.assert_array_equal(decode(data).pixels, upright(6, pixels(0)))


def png_with_much(array: np.ndarray) -> dict[str, bytes]:
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "x" * 2_000_000, zip=True)
    international = PngImagePlugin.PngInfo()
    international.add_itxt("parameters", "x" * 2_000_000, zip=True)
    plain = PngImagePlugin.PngInfo()
    for number in range(70):
        plain.add_text(f"part {number}", "x" * 1_000_000)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(2_000_000)
    image, bare = Image.fromarray(array), encoded(array)
    made = {"zTXt": {"pnginfo": text}, "iTXt": {"pnginfo": international}, "iCCP": {"icc_profile": profile}}
    files = {name: encoded(array, "PNG", **options) for name, options in made.items()}
    stream = io.BytesIO()
    image.save(stream, "PNG", pnginfo=plain)
    end = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2_000_000)))
    return files | {
        "tEXt": stream.getvalue(),
        "after the pixels": bare[:-12] + end + bare[-12:],
        "profile of no kind": with_chunks(bare, png_chunk(b"iCCP", b"sRGB\0\7nothing")),
        "gamma cut short": with_chunks(bare, png_chunk(b"gAMA", b"\0\0")),
        "wrong checksum of text": with_chunks(bare, png_chunk(b"tEXt", b"Author\0me", checksum=1)),
        "wrong checksum of a time": with_chunks(bare, png_chunk(b"tIME", bytes(7), checksum=1)),
        "wrong checksum of transparency": with_chunks(bare, png_chunk(b"tRNS", bytes(6), checksum=1)),
        "a frame too many": with_chunks(bare, png_chunk(b"acTL", bytes(3))),
    }


@pytest.mark.parametrize("what", png_with_much(pixels(0, 4, 4)))
def test_a_png_is_its_pixels_whatever_it_says(what: str) -> None:
    np.testing.assert_array_equal(decode(png_with_much(pixels(0))[what]).pixels, pixels(0))


def test_what_pixels_depend_on_stays_beside_a_megabyte_of_text() -> None:
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 0, 200, 0])
    image.putpixel((0, 0), 0)
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "x" * 2_000_000, zip=True)
    turned = Image.Exif()
    turned[0x112] = 6
    stream = io.BytesIO()
    image.save(stream, "PNG", pnginfo=text, transparency=b"\0\xff", exif=turned)
    assert decode(stream.getvalue()).pixels.tolist() == [[[255] * 3], [[0, 200, 0]]]


def test_a_bomb_beside_good_pixels_is_never_unpacked() -> None:
    bomb = zlib.compressobj(9)
    packed = b"".join(bomb.compress(bytes(2**20)) for _ in range(512)) + bomb.flush()
    assert len(packed) < 2**20
    chunks = [png_chunk(b"zTXt", b"a\0\0" + packed), png_chunk(b"iCCP", b"a\0\0" + packed)]
    np.testing.assert_array_equal(decode(with_chunks(encoded(pixels(0)), *chunks)).pixels, pixels(0))


def jpegs_with_much(array: np.ndarray) -> dict[str, bytes]:
    plain = encoded(array, "JPEG", quality=95)
    many = plain
    for number in range(20):
        many = with_segment(many, 0xE1, b"Exif\0\0" + bytes([number]) * 60_000)
    return {
        "20 blocks of EXIF": many,
        "a profile of no length": with_segment(plain, 0xE2, b"ICC_PROFILE\0"),
        "JFIF cut short": with_segment(plain, 0xE0, b"JFIF\0"),
        "Adobe cut short": with_segment(plain, 0xEE, b"Adobe"),
        "previews that are not there": with_segment(plain, 0xE2, b"MPF\0II*\0\x08\0\0\0\1\0"),
        "Photoshop": with_segment(plain, 0xED, b"Photoshop 3.0\x008BIM" + b"\xff" * 50),
        "comments": with_segment(with_segment(plain, 0xFE, b"x" * 60_000), 0xFE, b""),
        "after the end": plain + b"\0" * 5000 + b"<html>",
    }


@pytest.mark.parametrize("what", jpegs_with_much(pixels(0, 8, 8)))
def test_a_jpeg_is_its_pixels_whatever_it_says(what: str) -> None:
    plain = decode(encoded(pixels(0), "JPEG", quality=95)).pixels
    np.testing.assert_array_equal(decode(jpegs_with_much(pixels(0))[what]).pixels, plain)


def test_a_turned_jpeg_stays_turned_without_the_rest() -> None:
    data = with_segment(with_exif("JPEG", pixels(0), exif(8)), 0xE2, b"ICC_PROFILE\0")
    assert decode(data).pixels.shape == (48, 40, 3)


def test_a_webp_whose_metadata_are_cut_short() -> None:
    data = encoded(pixels(0), "WEBP", lossless=True, exif=b"Exif\0\0" + exif(3), icc_profile=b"x" * 5000)
    xmp = data + b"XMP " + struct.pack("<I", 10_000) + b"<x"
    for file in (data, data[:4] + struct.pack("<I", len(xmp) - 8) + xmp[8:]):
        np.testing.assert_array_equal(decode(file).pixels, upright(3, pixels(0)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encoded(pixels(0))[:-200], "truncated"),
        (with_chunks(encoded(pixels(0)), png_chunk(b"iCCP", b"sRGB\0\7nothing"))[:-200], "truncated"),
        (with_segment(encoded(pixels(0), "JPEG"), 0xE2, b"ICC_PROFILE\0")[:-200], "truncated"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "damaged"),
        (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0), 1), "damaged"),
        (b"\xff\xd8\xff\xe0" + bytes(60), "damaged"),
        (b"GIF89a" + bytes(3), "not a JPEG, PNG, WEBP, GIF, BMP or TIFF image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a JPEG, PNG, WEBP, GIF, BMP or TIFF image"),
        (encoded(pixels(0), "AVIF"), "not a JPEG, PNG, WEBP, GIF, BMP or TIFF image"),
        (encoded(pixels(0), "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "a kind of JPEG that .*"),
    ],
)
def test_a_reason_is_true(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=f"^{reason}$"):
        decode(data)


def test_a_pixel_that_changed_is_damage_and_a_checksum_alone_is_none() -> None:
    data = bytearray(encoded(pixels(0)))
    place = data.index(b"IDAT")
    length = struct.unpack_from(">I", data, place - 4)[0]
    data[place + 4 + length] ^= 1  # of the chunk; the one of the pixels themselves still holds
    np.testing.assert_array_equal(decode(bytes(data)).pixels, pixels(0))
    data[place + length // 2] ^= 1
    with pytest.raises(DecodeError, match=r"^(damaged|truncated)$"):
        decode(bytes(data))


def test_a_box_on_a_file_with_broken_metadata_ends_no_scan(tmp_path: Path) -> None:
    put(tmp_path / "a/0.png", png_with_much(pixels(0))["zTXt"])
    put(tmp_path / "a/1.jpg", with_exif("JPEG", pixels(1), b"II*\0\xff\xff\xff\xff"))
    put(tmp_path / "a/2.jpg", with_exif("JPEG", pixels(2), exif(6, BROKEN_TAG)))
    names = sorted(file.name for file in (tmp_path / "a").iterdir())
    manifest = scan(tmp_path, [Candidate(f"a/{name}", "a", box=(1, 2, 9, 9)) for name in names])
    assert manifest["keep"].all()
    assert manifest["box_left"].notna().tolist() == [True, True, False]
