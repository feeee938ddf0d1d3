"""Annotated boxes: read from VOC's XML, clipped to the image, part of the data's version."""

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.trees import pixels, put, voc
from trainables.data.boxes import Box, fit
from trainables.data.images import decode
from trainables.data.sources.voc import largest_box
from trainables.errors import InputError


def test_the_largest_of_several_objects(tmp_path: Path) -> None:
    file = put(tmp_path / "n02085620_7", voc("x", [(1, 1, 11, 11), (5, 6, 40, 9), (0, 0, 10, 10)]))
    assert largest_box(file) == Box(5, 6, 40, 9)
    assert largest_box(put(tmp_path / "none", voc("x", []))) is None


BOMB = """<?xml version="1.0"?>
<!DOCTYPE annotation [
 <!ENTITY a "aaaaaaaaaa">
 <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
 <!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
]>
<annotation><object><name>&c;</name></object></annotation>"""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB.encode(), "it declares a document type"),
        (BOMB.replace("?>", ' encoding="UTF-16"?>').encode("utf-16"), "it declares a document type"),
        (b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>', "it declares a document type"),
        (b"<annotation><object><name>&e;</name></object></annotation>", "undefined entity"),
        (voc("x", [(1, 2, 3, 4)])[:-30], "no element found|unclosed"),
        (voc("x", [(1, 2, 3, 4)]).replace(b">3<", b">three<"), "could not convert string to float: 'three'"),
        (voc("x", [(1, 2, 3, 4)]).replace(b"xmax", b"right"), "could not convert string to float: ''"),
        (b"", "no element found"),
    ],
)
def test_annotations_of_strangers(tmp_path: Path, content: bytes, reason: str) -> None:
    file = put(tmp_path / "n02085620_7", content)
    with pytest.raises(
        InputError, match=rf"n02085620_7 is not an image annotation \(.*({reason}).*\): download it again"
    ):
        largest_box(file)


def test_a_box_is_clipped_to_its_image() -> None:
    assert fit(Box(-3, -1, 99, 20), 48, 40, turned=False) == (0, 0, 48, 20)
    assert fit(Box(3, 4, 5, 6), 48, 40, turned=False) == (3, 4, 5, 6)
    for outside in (Box(48, 0, 60, 10), Box(5, 5, 5, 9), Box(9, 5, 5, 9), Box(0, 40, 9, 50)):
        assert fit(outside, 48, 40, turned=False) is None


def test_an_image_that_is_stored_turned_has_no_box() -> None:
    for orientation, kept in ((1, True), (6, False), (0, True)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stream = io.BytesIO()
        Image.fromarray(pixels(0)).save(stream, "JPEG", exif=exif)
        turned = decode(stream.getvalue()).turned
        assert (fit(Box(3, 4, 9, 9), 48, 40, turned) is not None) == kept
