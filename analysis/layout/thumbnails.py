"""Example images of a study as data URIs, so that the report stays one file."""

import base64
from pathlib import Path

import pandas as pd

from analysis.layout.page import Gallery, Thumbnail
from analysis.layout.text import percent, plain
from study.results import EXAMPLES_COLUMNS, EXAMPLES_FILE, EXAMPLES_FOLDER, SUSPECTS_PREFIX, ResultsError
from study.writing import count

MOST = 24  # images of each kind
MOST_BYTES = 300_000  # larger files are no thumbnails
_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
_OPTIONAL = ("kind", "heatmap", "energy_in_box", "box_share")
# The title of each kind of image, in display order.
_KINDS = {
    "": "Test images",
    "drawn": "Random sample",
    "error": "Most confident errors",
    "confused": "Most confused classes",
}


def galleries(out: Path) -> tuple[list[Gallery], list[str]]:
    """Return the images listed in examples/examples.csv that exist, by kind, and a sentence on their heat maps.

    Raises:
        ResultsError: examples.csv lacks a column.
    """
    path = out / EXAMPLES_FOLDER / EXAMPLES_FILE
    if not path.is_file():
        return [], []
    listed = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = [name for name in EXAMPLES_COLUMNS if name not in listed]
    if missing:
        raise ResultsError(f"{path}: no column {', '.join(map(repr, missing))}. Add it.")
    listed = listed.reindex(columns=[*EXAMPLES_COLUMNS, *_OPTIONAL], fill_value="")
    usable = [_usable(path.with_name(Path(file).name)) for file in listed["file"]]
    there = listed.loc[usable]
    kinds = sorted(there["kind"].unique(), key=lambda kind: (kind not in _KINDS, [*_KINDS, kind].index(kind)))
    shown = {kind: there[there["kind"] == kind].head(MOST) for kind in kinds}
    made = [
        Gallery(_title(kind), [_thumbnail(path.parent, row) for row in rows.itertuples()])
        for kind, rows in shown.items()
    ]
    return made, _energies(listed)


def _title(kind: str) -> str:
    return _KINDS.get(kind, plain(kind))


def _energies(listed: pd.DataFrame) -> list[str]:
    """Return the mean share of the heat maps' energy inside the object's box, by kind of image, as a sentence."""
    energy = pd.to_numeric(listed["energy_in_box"], errors="coerce").dropna()
    if energy.empty:
        return []
    area = pd.to_numeric(listed["box_share"], errors="coerce").reindex(energy.index)
    by_kind = pd.DataFrame({"energy": energy, "area": area}).groupby(listed["kind"], sort=False)
    shares = ", ".join(
        f"{_title(kind).lower()} {percent(rows['energy'].mean())} ({count(len(rows), 'image')}"
        + ("" if rows["area"].isna().all() else f"; a uniform map: {percent(rows['area'].mean())}")
        + ")"
        for kind, rows in by_kind
    )
    return [f"Mean share of the Grad-CAM heat map inside the object's box: {shares}."]


def _usable(path: Path) -> bool:
    return path.suffix.lower() in _TYPES and path.is_file() and path.stat().st_size <= MOST_BYTES


def _thumbnail(folder: Path, row) -> Thumbnail:
    heatmap = folder / Path(row.heatmap).name if row.heatmap else folder
    energy = pd.to_numeric(row.energy_in_box, errors="coerce")
    return Thumbnail(
        source=_data(folder / Path(row.file).name),
        file=Path(row.file).name,
        label=plain(row.label),
        predicted=plain(row.predicted),
        confidence=percent(pd.to_numeric(row.confidence, errors="coerce")),
        heatmap=_data(heatmap) if _usable(heatmap) else "",
        heatmap_file=heatmap.name if _usable(heatmap) else "",
        energy=percent(energy) if pd.notna(energy) else "",
    )


def suspect_thumbnail(out: Path, item: object, label: str, predicted: str, confidence: float) -> Thumbnail | None:
    """Return the thumbnail of an image whose label may be wrong; None if the study saved none."""
    path = out / EXAMPLES_FOLDER / Path(f"{SUSPECTS_PREFIX}{item}.jpg").name
    return Thumbnail(_data(path), plain(label), plain(predicted), percent(confidence)) if _usable(path) else None


def _data(path: Path) -> str:
    return f"data:{_TYPES[path.suffix.lower()]};base64,{base64.b64encode(path.read_bytes()).decode()}"
