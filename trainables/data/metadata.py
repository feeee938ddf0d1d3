"""The same image file without what its pixels do not need: text, color profiles, comments, previews, camera notes.

Pillow reads all of it before the first pixel, and refuses the file where some of it is too large or broken. Nothing is
decompressed here, and only the bytes that are there are walked.
"""

import struct
import zlib
from collections.abc import Iterator

from trainables.data import tiff

# How files begin that Pillow is let read, by its name of their format.
_BEGINNINGS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
_SHORTEST = 16  # no file of fewer bytes holds an image, whatever it begins with

_PNG_NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_PNG_WANTED = (b"tRNS", b"eXIf")  # transparency and orientation, where they are whole
_WEBP_METADATA = (b"ICCP", b"EXIF", b"XMP ")
_WEBP_FLAGS = 0x20 | 0x08 | 0x04  # in VP8X: there is a profile, EXIF, XMP


def format_of(data: bytes) -> str | None:
    """The format that the first bytes claim, by Pillow's name."""
    if len(data) < _SHORTEST:
        return None
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((name for name, beginnings in _BEGINNINGS.items() if data.startswith(beginnings)), None)


def without_metadata(data: bytes) -> bytes | None:
    """The orientation stays; None where nothing can be left out."""
    bare = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "TIFF": tiff.without_metadata}.get(format_of(data) or "")
    return bare(data) if bare else None


def is_unsupported(data: bytes) -> bool:
    """Whether its header is in order, but of a kind that Pillow cannot read: 12-bit JPEG, TIFF of 64-bit floats."""
    match format_of(data):
        case "TIFF":
            return tiff.has_rare_samples(tiff.tags(data))
        case "JPEG":
            frames = (body for marker, body in _segments(data) if marker in range(0xC0, 0xC4))
            return any(len(body) > 4 and body[4] != 8 for body in frames)
    return False


def _png(data: bytes) -> bytes:
    kept, place = [data[:8]], 8
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        chunk = data[place : place + length + 12]
        if name in _PNG_NEEDED or (name in _PNG_WANTED and _is_whole(chunk, length)):
            kept.append(chunk)
        place += length + 12
    return b"".join(kept)


def _is_whole(chunk: bytes, length: int) -> bool:
    return len(chunk) == length + 12 and zlib.crc32(chunk[4:-4]) == struct.unpack(">I", chunk[-4:])[0]


def _jpeg(data: bytes) -> bytes | None:
    kept, turn = [], 1
    for marker, segment in _segments(data):
        if marker == 0xE1 and segment[4:].startswith(b"Exif\0\0"):
            turn = max(turn, tiff.orientation(segment[4:]))
        # Of the application's segments only these two say how colors are stored: JFIF and Adobe.
        elif marker not in (*range(0xE0, 0xF0), 0xFE) or (marker in (0xE0, 0xEE) and len(segment) >= 16):
            kept.append(segment)
    if not kept:
        return None
    exif = tiff.exif_of(turn) if turn > 1 else b""
    head = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif if exif else b""
    return b"".join([data[:2], head, *kept])


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and bytes of every segment; the last one is the rest of the file, from the pixels on."""
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            return
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker == 0xDA:
            yield marker, data[place:]
            return
        length = 2 + struct.unpack_from(">H", data, place + 2)[0]
        yield marker, data[place : place + length]
        place += length


def _webp(data: bytes) -> bytes | None:
    kept, turn, place = [], 1, 12
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        chunk = data[place : place + 8 + length + length % 2]
        if name == b"EXIF":
            turn = tiff.orientation(chunk[8:])
        if name == b"VP8X" and len(chunk) > 8:
            chunk = chunk[:8] + bytes([chunk[8] & ~_WEBP_FLAGS]) + chunk[9:]
        if name not in _WEBP_METADATA:
            kept.append(chunk)
        place += 8 + length + length % 2
    if not kept:
        return None
    if turn > 1 and kept[0].startswith(b"VP8X") and len(kept[0]) > 8:
        exif = tiff.exif_of(turn)
        kept[0] = kept[0][:8] + bytes([kept[0][8] | 0x08]) + kept[0][9:]
        kept.append(b"EXIF" + struct.pack("<I", len(exif)) + exif)
    body = b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
