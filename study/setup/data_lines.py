"""What was found in the data, in lines: how it was read, its classes, its folds, and what was passed over."""

import pandas as pd

from trainables.data.manifest import Source, label_names

_CLASSES = 20  # named one by one; of more, the first and the last few
_NOTES = 20


def layout_lines(source: Source) -> list[str]:
    """How the data was read, and what was passed over and why."""
    layout = [f"read as: {source.layout}"] if source.layout else []
    more = len(source.notes) - _NOTES
    rest = [f"and {more} more lines of this kind"] if more > 0 else []
    return [_printable(line) for line in [*layout, *source.notes[:_NOTES], *rest]]


def class_line(manifest: pd.DataFrame) -> str:
    """Every class in label order with its number of images that can be used; of many the smallest and largest too."""
    counts = manifest[manifest["keep"]].groupby("label_name").size()
    names = [name for name in label_names(manifest) if name in counts]
    said = [f"{_printable(name)!r} {counts[name]}" for name in names]
    if len(said) <= _CLASSES:
        return f"classes: {', '.join(said)}"
    return (
        f"classes: {', '.join(said[: _CLASSES // 2])} ... {', '.join(said[-3:])}; "
        f"from {counts.min()} to {counts.max()} images each"
    )


def split_line(manifest: pd.DataFrame, official: bool) -> str:
    """Where the folds come from."""
    given = manifest.loc[manifest["keep"], "official_split"].value_counts()
    counts = ", ".join(f"{fold} {given[fold]}" for fold in ("train", "val", "test") if given.get(fold))
    held_out = [fold for fold in ("val", "test") if given.get(fold)]
    if not held_out:
        return "folds: drawn, as the data names none"
    if not official:
        return f"folds: drawn; the data's own ({counts}) are not used"
    drawn = {"val": "validation is drawn", "test": "test is drawn"}
    rest = [text for fold, text in drawn.items() if fold not in held_out]
    return f"folds: the data's own ({counts})" + (f"; {', '.join(rest)}" if rest else "")


def _printable(text: str) -> str:
    """Names may hold anything, also what a terminal would obey; that is written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
