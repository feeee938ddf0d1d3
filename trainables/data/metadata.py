"""Strip an image file of everything that its pixels do not need: text, color profiles, comments, previews, notes.

Pillow reads all metadata before the first pixel, and rejects the file if some of it is too large or damaged. Nothing is
decompressed here, and nothing is read beyond the end of the data.
"""

import struct
import zlib
from collections.abc import Iterator

from trainables.data import tiff

# The first bytes of the formats that Pillow may read, under its names for them.
_BEGINNINGS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
_SHORTEST = 16  # no image file has fewer bytes

_PNG_NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_PNG_WANTED = (b"tRNS", b"eXIf")  # transparency and orientation, unless damaged
_WEBP_METADATA = (b"ICCP", b"EXIF", b"XMP ")
_WEBP_FLAGS = 0x20 | 0x08 | 0x04  # of VP8X: the file has a profile, EXIF, XMP


def format_of(data: bytes) -> str | None:
    """Return Pillow's name of the format that the first bytes claim; None if it is none of ours."""
    if len(data) < _SHORTEST:
        return None
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((name for name, beginnings in _BEGINNINGS.items() if data.startswith(beginnings)), None)


def without_metadata(data: bytes) -> bytes | None:
    """Return the file without metadata, except for its orientation; None if nothing can be stripped."""
    bare = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "TIFF": tiff.without_metadata}.get(format_of(data) or "")
    return bare(data) if bare else None


def is_unsupported(data: bytes) -> bool:
    """Whether the header is valid, but of a kind that Pillow cannot read, such as 12-bit JPEG or 64-bit float TIFF."""
    match format_of(data):
        case "TIFF":
            return tiff.has_rare_samples(tiff.tags(data))
        case "JPEG":
            frames = (body for marker, body in _segments(data) if marker in range(0xC0, 0xC4))
            return any(len(body) > 4 and body[4] != 8 for body in frames)
    return False


def _png(data: bytes) -> bytes:
    kept, offset = [data[:8]], 8
    while offset + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, offset)
        chunk = data[offset : offset + length + 12]
        if name in _PNG_NEEDED or (name in _PNG_WANTED and _is_whole(chunk, length)):
            kept.append(chunk)
        offset += length + 12
    return b"".join(kept)


def _is_whole(chunk: bytes, length: int) -> bool:
    return len(chunk) == length + 12 and zlib.crc32(chunk[4:-4]) == struct.unpack(">I", chunk[-4:])[0]


def _jpeg(data: bytes) -> bytes | None:
    kept, turn = [], 1
    for marker, segment in _segments(data):
        if marker == 0xE1 and segment[4:].startswith(b"Exif\0\0"):
            turn = max(turn, tiff.orientation(segment[4:]))
        # JFIF (E0) and Adobe (EE) are the only application segments that say how colors are stored.
        elif marker not in (*range(0xE0, 0xF0), 0xFE) or (marker in (0xE0, 0xEE) and len(segment) >= 16):
            kept.append(segment)
    if not kept:
        return None
    exif = tiff.exif_of(turn) if turn > 1 else b""
    head = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif if exif else b""
    return b"".join([data[:2], head, *kept])


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the marker and bytes of every segment; the last one holds the rest of the file, from the pixels on."""
    offset = 2
    while offset + 4 <= len(data):
        if data[offset] != 0xFF:
            return
        marker = data[offset + 1]
        if marker == 0xFF:  # padding
            offset += 1
            continue
        if marker == 0xDA:
            yield marker, data[offset:]
            return
        length = 2 + struct.unpack_from(">H", data, offset + 2)[0]
        yield marker, data[offset : offset + length]
        offset += length


def _webp(data: bytes) -> bytes | None:
    kept, turn, offset = [], 1, 12
    while offset + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, offset)
        chunk = data[offset : offset + 8 + length + length % 2]
        if name == b"EXIF":
            turn = tiff.orientation(chunk[8:])
        if name == b"VP8X" and len(chunk) > 8:
            chunk = chunk[:8] + bytes([chunk[8] & ~_WEBP_FLAGS]) + chunk[9:]
        if name not in _WEBP_METADATA:
            kept.append(chunk)
        offset += 8 + length + length % 2
    if not kept:
        return None
    if turn > 1 and kept[0].startswith(b"VP8X") and len(kept[0]) > 8:
        exif = tiff.exif_of(turn)
        kept[0] = kept[0][:8] + bytes([kept[0][8] | 0x08]) + kept[0][9:]
        kept.append(b"EXIF" + struct.pack("<I", len(exif)) + exif)
    body = b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
