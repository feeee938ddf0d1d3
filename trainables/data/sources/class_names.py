"""Classes that a dataset gives as numbers or names, and their order."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

from trainables.errors import InputError

_NO_WIDTH = "\u200b\u2060\ufeff\u00ad"
_JOINERS = " \u200c\u200d"  # within a name they are part of some scripts' spelling, and of emoji
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def read(data: Path) -> list[str] | None:
    """The lines of classes.txt, class 0 first; None without the file."""
    file = data / "classes.txt"
    if not file.is_file():
        return None
    try:
        names = [clean(line) for line in file.read_text(encoding="utf-8-sig").rstrip().split("\n")]
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}): save it as UTF-8.") from error
    if not all(names):
        raise InputError(f"{file} must name one class per line, but line {names.index('') + 1} is empty: mend it.")
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise InputError(f"{file} must name each class once, but has {twice!r} twice: mend it.")
    return names


def name_of(label: object, names: list[str] | None, where: str) -> str:
    """The name of a class given as its number or its name; `where` says in an error who gives it."""
    if isinstance(label, str) and clean(label):
        name = clean(label)
        if names is None or name in names:
            return name
        raise InputError(f"The classes are {', '.join(names[:10])}, but {where} has {name!r}: mend it.")
    if not isinstance(label, int) or isinstance(label, bool) or label < 0:
        raise InputError(
            f"A label is a class number from 0 or a name, but {where} has {label!r}: mend it, or take away what has "
            "no label."
        )
    if names is None:
        return str(label)
    if label >= len(names):
        raise InputError(f"Class numbers run from 0 to {len(names) - 1}, but {where} has {label}: mend it.")
    return names[label]


def clean(name: str) -> str:
    """A name without what no screen shows: blanks around it or doubled, characters of no width, decomposed accents."""
    seen = "".join(c for c in unicodedata.normalize("NFC", name) if c not in _NO_WIDTH)
    return " ".join(seen.split()).strip(_JOINERS)


def written_twice(names: Iterable[str]) -> list[str]:
    """A line for each class whose name came in several forms that look the same."""
    forms: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        forms.setdefault(clean(name), []).append(name)
    return [
        f"one class, {name!r}: {' and '.join(map(ascii, given))} look the same"
        for name, given in forms.items()
        if len(given) > 1
    ]


def look_alike(names: Iterable[str]) -> list[str]:
    """A line for each two or more classes that differ in capital letters only, or in what is hardly seen."""
    forms: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        seen = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
        forms.setdefault(clean(seen.casefold()), []).append(name)
    return [
        f"look alike: the classes {' and '.join(map(ascii, same))}: if they are one, give them one name"
        for same in forms.values()
        if len(same) > 1
    ]


def check_single(names: Iterable[str], where: str) -> None:
    """Refuse labels of several classes in one cell, such as rust;scab or "rust scab" beside rust and scab."""
    known = set(names)
    for name in sorted(known):
        for marks, enough in ((";|", any), (",/+&", all), (" ", all)):
            parts = [clean(part.strip(" []()'\"")) for part in re.split(f"[{re.escape(marks)}]", name)]
            own = [part in known for part in parts if part]
            if len(own) > 1 and enough(own):
                raise InputError(
                    f"An image has one label, but {where} has {name!r} beside "
                    f"{' and '.join(repr(part) for part in parts if part in known)}: leave one label for each image, "
                    "or take these rows out; if the combination is a class of its own, give it a name of its own."
                )


def in_order(found: Iterable[str], names: Sequence[str] | None = None) -> list[str]:
    """Label order: the given one, else numbers by value (9 before 10), else by name; each once."""
    if names is not None:
        return list(dict.fromkeys(names))
    found = sorted(set(found))
    return sorted(found, key=Decimal) if all(map(_NUMBER.fullmatch, found)) else found
