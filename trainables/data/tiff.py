"""Read the first directory of a TIFF without Pillow: the meaning of its samples, and a copy without metadata.

EXIF is a TIFF without pixels, so this also reads the orientation of JPEG, PNG and WebP files.
Source: TIFF 6.0, section 2. BigTIFF is the same with 8-byte fields.
"""

import struct
from dataclasses import dataclass

from trainables.preprocess import BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT, UNSIGNED, WHITE_IS_ZERO

ORIENTATION, SAMPLES_PER_PIXEL, MAX_SAMPLE_VALUE = 274, 277, 281
BLACK_IS_ZERO, SIGNED = 1, 2

# Tags that pixels depend on: sizes, strips, tiles, samples, compression, palette, inks, color conversion, tables.
_OF_PIXELS = {
    *(254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332),
    *(338, 339, 347, 512, 513, 514, 515, 517, 519, 520, 521, 529, 530, 531, 532),
}
_SHORT = 3
_INTEGERS = {1: "B", _SHORT: "H", 4: "I", 16: "Q"}  # struct's format by TIFF's type number
_MOST_ENTRIES = 4096  # real files have dozens


@dataclass(frozen=True)
class _Layout:
    order: str  # byte order in struct's notation: < or >
    big: bool

    def number(self, kind: str, data: bytes | memoryview, offset: int) -> int:
        return struct.unpack_from(self.order + kind, data, offset)[0]


@dataclass(frozen=True)
class _Entry:
    tag: int
    raw: bytes  # 12 bytes, or 20 in BigTIFF


def tags(data: bytes) -> dict[int, int]:
    """Return the first number of every tag that holds integers; empty if there is no valid directory."""
    try:
        layout, entries = _directory(data)
    except (ValueError, struct.error):
        return {}
    return {entry.tag: value for entry in entries if (value := _value(layout, entry, data)) is not None}


def without_metadata(data: bytes) -> bytes | None:
    """Return the file with a new directory at its end, which lists only what the pixels of the first image need.

    Pillow reads some gray formats in one variant only, so they are declared as that variant; the `tags` of the
    original file tell the true one. None if the file has no valid directory, or would exceed 4 GiB.
    """
    try:
        layout, entries = _directory(data)
    except (ValueError, struct.error):
        return None
    known = tags(data)
    kept = {entry.tag: entry.raw for entry in entries if entry.tag in _OF_PIXELS}
    if known.get(SAMPLES_PER_PIXEL, 1) == 1 and known.get(BITS_PER_SAMPLE) in (16, 32):
        if known.get(PHOTOMETRIC) == WHITE_IS_ZERO:
            kept[PHOTOMETRIC] = _short(layout, PHOTOMETRIC, BLACK_IS_ZERO)
        if known[BITS_PER_SAMPLE] == 32 and known.get(SAMPLE_FORMAT, UNSIGNED) == UNSIGNED:
            kept[SAMPLE_FORMAT] = _short(layout, SAMPLE_FORMAT, SIGNED)
    begins = len(data) + len(data) % 2  # a directory begins at an even offset
    count, offset = ("Q", "Q") if layout.big else ("H", "I")
    if begins > 0xFFFFFFFF and not layout.big:
        return None
    entries_kept = b"".join(raw for _, raw in sorted(kept.items()))
    directory = struct.pack(layout.order + count, len(kept)) + entries_kept + struct.pack(layout.order + offset, 0)
    pointer = 8 if layout.big else 4  # where the header holds the offset of the first directory
    head = data[:pointer] + struct.pack(layout.order + offset, begins)
    return head + data[len(head) :] + bytes(begins - len(data)) + directory


def has_rare_samples(known: dict[int, int]) -> bool:
    """Whether programs write samples of this depth and count per pixel, but Pillow cannot read all of them."""
    bits, samples = known.get(BITS_PER_SAMPLE, 1), known.get(SAMPLES_PER_PIXEL, 1)
    return bits in (10, 12, 14, 16, 24, 32, 64) or (bits == 8 and samples in (2, *range(5, 65)))


def _directory(data: bytes) -> tuple[_Layout, list[_Entry]]:
    orders = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
    if data[:4] not in orders:
        raise ValueError("not a TIFF")
    layout = _Layout(*orders[data[:4]])
    size = 20 if layout.big else 12
    begins = layout.number("Q", data, 8) if layout.big else layout.number("I", data, 4)
    count = layout.number("Q" if layout.big else "H", data, begins)
    first = begins + (8 if layout.big else 2)
    if count > _MOST_ENTRIES or first + count * size > len(data):
        raise ValueError("truncated directory")
    raws = (data[start : start + size] for start in range(first, first + count * size, size))
    return layout, [_Entry(layout.number("H", raw, 0), raw) for raw in raws]


def _value(layout: _Layout, entry: _Entry, data: bytes) -> int | None:
    kind = _INTEGERS.get(layout.number("H", entry.raw, 2))
    if kind is None:
        return None
    count, room, first = ("Q", 8, 12) if layout.big else ("I", 4, 8)
    if layout.number(count, entry.raw, 4) * struct.calcsize(kind) <= room:
        return layout.number(kind, entry.raw, first)
    try:
        return layout.number(kind, data, layout.number(count, entry.raw, first))
    except struct.error:
        return None


def _short(layout: _Layout, tag: int, value: int) -> bytes:
    count, pad = ("Q", 6) if layout.big else ("I", 2)
    return struct.pack(f"{layout.order}HH{count}H{pad}x", tag, _SHORT, 1, value)


def orientation(exif: bytes) -> int:
    """Return the orientation in an EXIF block: 2 to 8 if the image must be rotated or mirrored, else 1."""
    value = tags(exif.removeprefix(b"Exif\0\0")).get(ORIENTATION, 1)
    return value if 2 <= value <= 8 else 1


def exif_of(turn: int) -> bytes:
    """Return the smallest EXIF block with this orientation."""
    layout = _Layout("<", False)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + _short(layout, ORIENTATION, turn) + bytes(4)
