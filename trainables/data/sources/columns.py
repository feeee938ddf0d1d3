"""Find the columns of a table with images, labels and folds, under the names that people give them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from trainables.data.sources.folds import fold_in
from trainables.errors import InputError

# In lower case, letters and digits only, singular. The first name that a table has is taken: beside a path, an id is
# just a number of the same image.
_IMAGE = (
    *("path", "filepath", "imagepath", "imgpath", "relativepath", "filename", "imagefilename", "imagefile"),
    *("imagename", "imgname", "image", "img", "picture", "photo", "imageid", "imgid", "id"),
)
_LABEL = (
    *("label", "class", "classname", "labelname", "classlabel", "category", "categoryname", "target"),
    *("breed", "species", "variety", "diagnosis", "dx", "disease", "tag"),
)
_SPLIT = ("split", "dataset", "set", "subset", "fold", "partition", "usage")


@dataclass(frozen=True)
class Columns:
    """The columns of a table by their role."""

    image: str
    label: str | None  # None: the label is the name of the `one_hot` column with the 1
    one_hot: list[str] = field(default_factory=list)
    split: str | None = None

    def __str__(self) -> str:
        label = f"{self.label!r} is" if self.label else f"{len(self.one_hot)} columns of 0 and 1 are"
        return f"{self.image!r} names the image, {label} its label"


def find(rows: pd.DataFrame, image: str | None = None) -> Columns:
    """Return the columns of a list of labeled images; `image` is the column that names the images, if known.

    Raises:
        ValueError: The table is no such list; the text lists its columns and says why.
    """
    if image is None and {"path", "label"} <= set(rows.columns):
        return Columns("path", "label", split=_split(rows))
    has = _listed(rows.columns)
    image = image or next((name for wanted in _IMAGE for name in rows.columns if _key(name) == wanted), None)
    if image is None:
        raise ValueError(f"{has} (no known name of an image column)")
    rest = [name for name in rows.columns if name != image and not re.fullmatch(r"Unnamed: \d+", name)]
    labels = [name for name in rest if _key(name) in _LABEL]
    label = next((name for name in labels if _key(name) == "label"), labels[0] if len(labels) == 1 else None)
    if label is None and labels:
        raise ValueError(f"{has} ({' and '.join(labels)} could both be the label)")
    if label is None:
        hot = [name for name in rest if _key(name) not in (*_IMAGE, *_SPLIT, "group")]
        if len(hot) > 1 and all(_is_hot(rows[name]) for name in hot):
            return Columns(image, None, hot, _split(rows))
        raise ValueError(f"{has} (no known name of a label column)")
    return Columns(image, label, split=_split(rows))


def renamed(rows: pd.DataFrame, columns: Columns, where: str) -> pd.DataFrame:
    """Return the table with the columns path and label, and split and group if it has them.

    Raises:
        InputError: A row of one-hot columns does not have exactly one 1.
    """
    table = {"path": rows[columns.image], "label": rows[columns.label] if columns.label else _hot(rows, columns, where)}
    if columns.split == "split":
        table["split"] = rows["split"]
    elif columns.split:
        table["split"] = rows[columns.split].map(fold_in).fillna("")
    return pd.DataFrame(table | ({"group": rows["group"]} if "group" in rows else {}))


def _key(name: str) -> str:
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    return key[:-1] if key.endswith("s") and key[:-1] in (*_IMAGE, *_LABEL) else key


def _listed(names: Iterable[str]) -> str:
    names = list(map(str, names))
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _split(rows: pd.DataFrame) -> str | None:
    """Return the column `split`, or a column with a similar name whose values are all fold names or empty."""
    if "split" in rows:
        return "split"
    likely = [name for wanted in _SPLIT for name in rows.columns if _key(name) == wanted]
    return next((name for name in likely if _holds_folds(rows[name])), None)


def _holds_folds(values: pd.Series) -> bool:
    folds = values.map(fold_in).notna()
    return bool(folds.any()) and bool((folds | (values.str.strip() == "")).all())


def _is_hot(values: pd.Series) -> bool:
    return bool(len(values)) and bool(values.str.fullmatch(r"[01](\.0*)?").all())


def _hot(rows: pd.DataFrame, columns: Columns, where: str) -> pd.Series:
    ones = rows[columns.one_hot].apply(lambda values: values.str.startswith("1"))
    count = ones.sum(axis=1)
    if (count != 1).any():
        row = int((count != 1).to_numpy().argmax())
        names = _listed(ones.columns[ones.iloc[row]]) or "none"
        raise InputError(
            f"An image must have one label, but {rows[columns.image].iloc[row]!r} of {where} has a 1 in "
            f"{count.iloc[row]} columns ({names}): keep one label per image, or remove these rows."
        )
    return ones.idxmax(axis=1)
