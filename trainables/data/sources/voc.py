"""Annotation files in the style of PASCAL VOC: where in an image its objects lie."""

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from trainables.data.boxes import Box
from trainables.errors import InputError


def largest_box(file: Path) -> Box | None:
    """The box of the largest object; None without objects.

    The label holds for each of several objects, and what a union adds to one of them is mostly background.
    """
    try:
        boxes = [_box(one) for one in _parse(file.read_bytes()).iterfind("object/bndbox")]
    except (OSError, ValueError, AssertionError, OverflowError, expat.ExpatError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file} is no annotation of an image ({reason}): get it again.") from error
    return max(boxes, key=lambda box: (box.right - box.left) * (box.bottom - box.top), default=None)


def _parse(data: bytes) -> Element:
    """XML from strangers: entities, which can grow without end or name other files, need a document type."""
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
