"""Classes that a dataset gives as numbers or names, and their order."""

from collections.abc import Iterable
from pathlib import Path

from trainables.errors import InputError


def read(data: Path) -> list[str] | None:
    """The lines of classes.txt, class 0 first; None without the file."""
    file = data / "classes.txt"
    if not file.is_file():
        return None
    try:
        names = [line.strip() for line in file.read_text(encoding="utf-8-sig").rstrip().split("\n")]
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
    if isinstance(label, str) and label.strip():
        name = label.strip()
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


def in_order(found: Iterable[str], names: list[str] | None = None) -> list[str]:
    """Label order: the given one, else numbers by value (9 before 10), else by name."""
    if names is not None:
        return names
    found = set(found)
    return sorted(found, key=int) if all(name.isdecimal() for name in found) else sorted(found)
