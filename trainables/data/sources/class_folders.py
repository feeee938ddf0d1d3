"""One folder with pictures per class, or train/, val/ and test/ folders of such."""

from pathlib import Path

from trainables.data.manifest import Candidate
from trainables.data.sources.tree import SPLITS, files_below, visible_folders
from trainables.errors import InputError


def candidates(data: Path) -> list[Candidate]:
    """Every visible file below a class folder."""
    folders = visible_folders(data)
    splits = [folder for folder in folders if folder.name.lower() in SPLITS]
    names = {SPLITS[folder.name.lower()] for folder in splits}
    if "train" not in names or (len(names) == 1 and len(folders) > 1):  # a class may be called "train"
        return _from_classes(data, data)
    if len(splits) < len(folders):
        other = next(folder for folder in folders if folder not in splits)
        raise InputError(f"Beside train/, val/ and test/ no other folder may stand, but {other} does: move it away.")
    found = [
        Candidate(one.path, one.label_name, SPLITS[folder.name.lower()])
        for folder in splits
        for one in _from_classes(folder, data)
    ]
    known = {one.label_name for one in found if one.official_split == "train"}
    _check_known([one for one in found if one.official_split != "train"], known)
    return found


def own_test(test: Path, training: list[Candidate]) -> list[Candidate]:
    """The user's own test pictures, in class folders outside of the data folder; their paths are absolute."""
    if not test.is_dir():
        raise InputError(f"The test pictures must be a folder of class folders, but {test} is none: give --test.")
    if any(one.official_split == "test" for one in training):
        raise InputError(f"One test set is enough, but the data has one and {test} is another: leave one out.")
    root = test.absolute()
    found = [Candidate(str(root / one.path), one.label_name, "test") for one in _from_classes(root, root)]
    _check_known(found, {one.label_name for one in training})
    return found


def _from_classes(folder: Path, root: Path) -> list[Candidate]:
    found = [Candidate(path, one.name) for one in visible_folders(folder) for path in files_below(one, root)]
    if not found:
        raise InputError(
            f"A folder of pictures has one subfolder with pictures per class, but {folder} has none: "
            "sort the pictures into subfolders (links out of the folder are not followed)."
        )
    return found


def _check_known(found: list[Candidate], known: set[str]) -> None:
    for one in found:
        if one.label_name not in known:
            raise InputError(
                f"Each held-out class needs training pictures, but {one.label_name!r} ({one.path}) has none: "
                f"rename it or take it away; the classes are {', '.join(sorted(known)[:10])}."
            )
