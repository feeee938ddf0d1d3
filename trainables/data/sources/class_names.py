"""Class names: cleaning, checks and order, for datasets that give classes as numbers or as names."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

from trainables.errors import InputError

_NO_WIDTH = "\u200b\u2060\ufeff\u00ad"
_JOINERS = " \u200c\u200d"  # inside a name, they are part of some scripts' spelling and of emoji
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def read(data: Path) -> list[str] | None:
    """Return the lines of classes.txt, class 0 first; None if the file does not exist.

    Raises:
        InputError: The file cannot be read, has an empty line, or names a class twice.
    """
    file = data / "classes.txt"
    if not file.is_file():
        return None
    try:
        names = [clean(line) for line in file.read_text(encoding="utf-8-sig").rstrip().split("\n")]
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}): save it as UTF-8.") from error
    if not all(names):
        raise InputError(f"{file} must name one class per line, but line {names.index('') + 1} is empty: fix it.")
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise InputError(f"{file} must name each class once, but has {twice!r} twice: fix it.")
    return names


def name_of(label: object, names: list[str] | None, where: str) -> str:
    """Return the name of a class.

    Args:
        label: Its number, from 0, or its name.
        names: The lines of classes.txt; None: any name is valid, and a number is its own name.
        where: The file or row of the label, for an error.

    Raises:
        InputError: The label is not a known class.
    """
    if isinstance(label, str) and clean(label):
        name = clean(label)
        if names is None or name in names:
            return name
        raise InputError(f"The classes are {', '.join(names[:10])}, but {where} has {name!r}: fix it.")
    if not isinstance(label, int) or isinstance(label, bool) or label < 0:
        raise InputError(
            f"A label must be a class number from 0 or a name, but {where} has {label!r}: fix it, or remove the "
            "images without a label."
        )
    if names is None:
        return str(label)
    if label >= len(names):
        raise InputError(f"Class numbers must be from 0 to {len(names) - 1}, but {where} has {label}: fix it.")
    return names[label]


def clean(name: str) -> str:
    """Return a name without invisible differences: extra blanks, zero-width characters, decomposed accents."""
    visible = "".join(c for c in unicodedata.normalize("NFC", name) if c not in _NO_WIDTH)
    return " ".join(visible.split()).strip(_JOINERS)


def written_twice(names: Iterable[str]) -> list[str]:
    """Return a note on each class whose name has several spellings that look the same."""
    forms: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        forms.setdefault(clean(name), []).append(name)
    return [
        f"merged into one class, {name!r}: {' and '.join(map(ascii, given))} look the same"
        for name, given in forms.items()
        if len(given) > 1
    ]


def look_alike(names: Iterable[str]) -> list[str]:
    """Return a note on classes whose names differ only in capital letters, or in ways that are hard to see."""
    forms: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        visible = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
        forms.setdefault(clean(visible.casefold()), []).append(name)
    return [
        f"similar names: the classes {' and '.join(map(ascii, same))}: if they are the same class, give them one name"
        for same in forms.values()
        if len(same) > 1
    ]


def check_single(names: Iterable[str], where: str) -> None:
    """Check that no label names several classes, such as rust;scab or "rust scab" beside rust and scab.

    Raises:
        InputError: A label combines other labels.
    """
    known = set(names)
    for name in sorted(known):
        for marks, enough in ((";|", any), (",/+&", all), (" ", all)):
            parts = [clean(part.strip(" []()'\"")) for part in re.split(f"[{re.escape(marks)}]", name)]
            is_label = [part in known for part in parts if part]
            if len(is_label) > 1 and enough(is_label):
                raise InputError(
                    f"An image must have one label, but {where} has {name!r} beside "
                    f"{' and '.join(repr(part) for part in parts if part in known)}: keep one label per image, or "
                    "remove these rows; if the combination is a separate class, give it a separate name."
                )


def in_order(labels: Iterable[str], names: Sequence[str] | None = None) -> list[str]:
    """Return the distinct classes in label order: the order of `names` if given, else numeric (9 before 10), else by
    name.
    """
    if names is not None:
        return list(dict.fromkeys(names))
    labels = sorted(set(labels))
    return sorted(labels, key=Decimal) if all(map(_NUMBER.fullmatch, labels)) else labels
