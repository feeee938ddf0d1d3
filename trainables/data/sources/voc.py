"""Annotation files in the format of PASCAL VOC, with the bounding boxes of the objects in an image."""

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from trainables.data.boxes import Box
from trainables.errors import InputError


def largest_box(file: Path) -> Box | None:
    """Return the box of the largest object; None if there are no objects.

    If there are several objects, the label holds for each, and their union would add mostly background.

    Raises:
        InputError: The file is not an annotation.
    """
    try:
        boxes = [_box(element) for element in _parse(file.read_bytes()).iterfind("object/bndbox")]
    except (OSError, ValueError, AssertionError, OverflowError, expat.ExpatError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file} is not an image annotation ({reason}): download it again.") from error
    return max(boxes, key=lambda box: (box.right - box.left) * (box.bottom - box.top), default=None)


def _parse(data: bytes) -> Element:
    """Parse untrusted XML. A document type is rejected: its entities can expand endlessly or read other files."""
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.Parse(data, True)
    return builder.close()


def _refuse(*declaration: object) -> None:
    raise ValueError("it declares a document type")


def _box(element: Element) -> Box:
    return Box(*(int(float(element.findtext(edge, ""))) for edge in ("xmin", "ymin", "xmax", "ymax")))
