"""Folders and lists that cannot be read, or that look like something else: said, never left out in silence."""

import os
from pathlib import Path

import pytest

from tests.trees import class_folders, put
from trainables.data.datasets import read_manifest
from trainables.data.sources import folder, table
from trainables.errors import InputError


def forbid(monkeypatch: pytest.MonkeyPatch, forbidden: Path) -> None:
    """As the system does for everybody but root."""
    for name in ("listdir", "scandir"):
        real = getattr(os, name)

        def refusing(path: os.PathLike[str] | str = ".", real=real):
            if Path(path) == forbidden:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        monkeypatch.setattr(os, name, refusing)


@pytest.mark.parametrize("place", ["", "b", "b/deep"])
def test_a_folder_that_cannot_be_listed_is_no_class_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    class_folders(tmp_path, {"a": 3, "b": 3, "b/deep": 1})
    forbid(monkeypatch, tmp_path / place)
    with pytest.raises(
        InputError, match=rf"'{tmp_path / place}' cannot be read \(permission denied\): check its permissions, or move"
    ):
        read_manifest("folder", tmp_path)


@pytest.mark.parametrize("mark", [",", ";", "\t", ", ", "; "])
@pytest.mark.parametrize(("start", "end"), [("", "\n"), ("\ufeff", "\r\n")])
def test_a_list_is_read_as_spreadsheets_write_it(tmp_path: Path, mark: str, start: str, end: str) -> None:
    class_folders(tmp_path / "p", {"x": 2, "y": 1})
    rows = [("path", "label"), ("p/x/0.png", "a,b" if mark == ";" else "cat"), ("p/y/0.png", "../x")]
    put(tmp_path / "labels.csv", (start + end.join(mark.join(row) for row in rows) + end).encode())
    found = folder.candidates(tmp_path, None).candidates
    assert [(one.path, one.label_name) for one in found] == [tuple(row) for row in rows[1:]]


def test_a_list_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").mkdir()
    with pytest.raises(InputError, match=r"labels.csv cannot be read \(is a directory\): check its permissions"):
        table.read(tmp_path / "labels.csv")
    with pytest.raises(InputError, match=r"cannot be read as a CSV file .*: save it as UTF-8"):
        table.read(put(tmp_path / "utf16.csv", "path,label\n".encode("utf-16")))


def test_a_class_name_of_300_characters_is_a_class(tmp_path: Path) -> None:
    class_folders(tmp_path / "p", {"x": 3, "y": 3})
    rows = [
        f"p/{name}/{number}.png,{label}" for name, label in (("x", "y" * 300), ("y", "=1+1")) for number in range(3)
    ]
    put(tmp_path / "labels.csv", "\n".join(["path,label", *rows]).encode())
    assert set(read_manifest("folder", tmp_path)["label_name"]) == {"y" * 300, "=1+1"}
