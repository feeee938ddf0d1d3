"""One folder of images per class, optionally within train/, val/ and test/, under the names that people give them."""

from dataclasses import replace
from pathlib import Path

from trainables.data.manifest import Candidate, Source
from trainables.data.sources import class_names
from trainables.data.sources.folds import FOLDS, fold_in, fold_of, folds_of, says_nothing
from trainables.data.sources.tree import Walk, files_below, is_image_name, loose_files, passed_by, visible_folders
from trainables.errors import InputError

_WANTED = "train/, val/ and test/"
_NAMED = 20  # empty class folders that a note names


class NoClassFolders(InputError):
    """No folder has files, so none can be a class: the user may have meant something else in the data folder."""


def read(data: Path) -> Source:
    """Return every visible file below a class folder.

    Raises:
        InputError: There are no class folders, or it is ambiguous which folders are classes and which are folds.
    """
    walk = Walk(data)
    top = _unwrapped(data, walk)
    inside = "" if top == data else f", in {_named(top, data)}"
    folders = visible_folders(top, walk)
    if folds := _folds(folders, Walk(data)):  # a walk of its own, because the folders are read again below
        source = _from_folds(folds, data, walk)
        beside = [folder for folder in folders if folder not in folds]
        notes = [*source.notes, *(f"left out: {_flat(folder, data)} and is not a fold" for folder in beside)]
    else:
        candidates, notes = _from_classes(top, data, walk)
        source, notes = Source(candidates, layout="one folder per class"), notes + _beside(top, data)
    return replace(source, layout=source.layout + inside, notes=notes + passed_by(walk))


def _from_folds(folds: dict[Path, str], data: Path, walk: Walk) -> Source:
    candidates: list[Candidate] = []
    notes: list[str] = []
    layout: list[str] = []
    for folder, fold in sorted(folds.items(), key=lambda pair: (FOLDS.index(pair[1]), pair[0])):
        if fold != "train" and _is_flat(folder, walk):
            notes.append(f"left out: {_flat(folder, data)} and therefore no labels")
            continue
        top = _inner(folder, walk)
        new, more = _from_classes(top, data, walk, fold)
        candidates += new
        notes += more + _beside(top, data)
        layout.append(f"{_named(folder, data)} ({fold})")
    known = {candidate.label_name for candidate in candidates if candidate.official_split == "train"}
    _check_known([candidate for candidate in candidates if candidate.official_split != "train"], known)
    return Source(candidates, layout=f"one folder per class within each fold: {', '.join(layout)}", notes=notes)


def own_test(test: Path, training: list[Candidate]) -> list[Candidate]:
    """Return the user's own test images, in class folders outside of the data folder, with absolute paths.

    Raises:
        InputError: `test` has no class folders, has a class without training images, or is a second test set.
    """
    if not test.is_dir():
        raise InputError(f"--test must be a folder of class folders, but {test} is not a folder: correct the path.")
    if any(candidate.official_split == "test" for candidate in training):
        raise InputError(f"Only one test set is allowed, but the data has one and {test} is another: remove one.")
    root = test.absolute()
    inside, _ = _from_classes(root, root, Walk(root))
    candidates = [Candidate(str(root / candidate.path), candidate.label_name, "test") for candidate in inside]
    _check_known(candidates, {candidate.label_name for candidate in training})
    return candidates


def _unwrapped(data: Path, walk: Walk) -> Path:
    """Return the folder to read: if the data folder has a single folder, as after unpacking an archive, that folder."""
    folders = visible_folders(data, walk)
    if len(folders) != 1 or fold_of(folders[0].name) or _has_images(folders[0]):
        return data
    return _unwrapped(folders[0], walk) if visible_folders(folders[0], walk) else data


def _inner(folder: Path, walk: Walk) -> Path:
    """Return the folder with a fold's classes: the inner one of seg_train/seg_train/CLASS and of train/images/CLASS."""
    inner = visible_folders(folder, walk)
    if len(inner) != 1 or _has_images(inner[0]):
        return folder
    name, fold = inner[0].name, fold_in(folder.name)
    is_wrapped = name == folder.name or says_nothing(name) or (fold and fold_in(name) == fold)
    return inner[0] if is_wrapped else folder


def _is_flat(folder: Path, walk: Walk) -> bool:
    """Whether a folder has no class folders, such as a test set without labels: test/1.jpg or test/test/1.jpg."""
    inner = visible_folders(folder, walk)
    return not inner or ([path.name for path in inner] == [folder.name] and not visible_folders(inner[0], walk))


def _flat(folder: Path, data: Path) -> str:
    count = sum(map(is_image_name, files_below(folder, data)))
    return f"{_named(folder, data)!r} ({_images(count)}), which has no class folders"


def _folds(folders: list[Path], walk: Walk) -> dict[Path, str]:
    """Return the fold of every folder; empty if the folders are classes.

    Raises:
        InputError: Only some folders are folds, or they look like folds, but their names do not say which.
    """
    inner = {folder: _names_within(_inner(folder, walk), walk) for folder in folders}
    meant = {
        folder: fold for folder, fold in zip(folders, folds_of([path.name for path in folders]), strict=True) if fold
    }
    loose = {folder: fold for folder in folders if (fold := fold_in(folder.name))}
    nested = [inner[folder] for folder in loose if not _is_flat(folder, walk)]
    share_classes = len(nested) > 1 and set.intersection(*nested)
    train = next((folder for folder, fold in meant.items() if fold == "train"), None)
    if train and len(folders) == 1:
        return meant
    others = [folder for folder in folders if folder != train]
    if train and len(inner[train]) > 1 and not _has_images(train) and all(_is_flat(path, walk) for path in others):
        return meant  # the folders beside it have no classes
    for folds in (meant, loose if share_classes else {}):
        if "train" in folds.values() and len(set(folds.values())) > 1:  # a class may be called train
            other = next((path for path in folders if path not in folds and not _is_flat(path, walk)), None)
            if other is not None:
                raise InputError(f"No other folder is allowed beside {_WANTED}, but got {other}: move it away.")
            return folds
    if len(folders) > 1:
        common, union = set.intersection(*inner.values()), set.union(*inner.values())
        if len(common) > 1 and (loose or 2 * len(common) >= len(union)):
            _refuse(folders, common)
    names = {class_names.clean(folder.name) for folder in folders}
    if within := next((folder for folder in meant if inner[folder] & (names - {folder.name})), None):
        raise InputError(
            f"Class folders must be inside the folds, but {sorted(inner[within] & names)[0]!r} is both in the fold "
            f"{within} and beside it: move the class folders into train/."
        )
    return {}


def _names_within(folder: Path, walk: Walk) -> set[str]:
    return {class_names.clean(path.name) for path in visible_folders(folder, walk)}


def _refuse(folders: list[Path], common: set[str]) -> None:
    names = ", ".join(repr(folder.name) for folder in folders[:3])
    within = ", ".join(repr(name) for name in sorted(common)[:3])
    folds = set(folds_of(sorted(common)))
    if "train" in folds and len(folds - {None}) > 1:
        raise InputError(
            f"Folders must be nested as train/CLASS, but {names} contain {within}: move the folders, "
            "or list the images in a CSV with path, label and split."
        )
    raise InputError(
        f"Folders with the same subfolders look like folds of a data set, but the names {names} (with {within} "
        f"in each) do not say which: rename them to {_WANTED}; if they are the classes, give their subfolders "
        "different names, or list the images in a CSV with path and label."
    )


def _from_classes(folder: Path, root: Path, walk: Walk, fold: str | None = None) -> tuple[list[Candidate], list[str]]:
    """Return the files of all class folders, and notes on empty class folders and on names that look the same."""
    candidates: list[Candidate] = []
    empty = []
    classes = visible_folders(folder, walk)
    for path in classes:
        files = files_below(path, root, walk)
        label = class_names.clean(path.name) or path.name
        candidates += [Candidate(file, label, fold) for file in files]
        if not files and path not in walk.passed:
            empty.append(_named(path, root))
    if not candidates:
        left_out = next((f" ({line})" for line in passed_by(walk) if line.startswith("left out")), "")
        raise NoClassFolders(
            f"A folder of images must have one subfolder with images per class, but {folder} has none{left_out}: sort "
            "the images into subfolders, or list them in a CSV with path and label at the top of the data folder."
        )
    notes = class_names.written_twice(path.name for path in classes)
    if empty:
        names = ", ".join(map(repr, empty[:_NAMED])) + (f" and {len(empty) - _NAMED} more" if empty[_NAMED:] else "")
        notes.append(f"left out: {names}: class folders without images")
    return candidates, notes


def _beside(top: Path, data: Path) -> list[str]:
    """Return a note on the images beside the class folders, which have no label."""
    images = list(filter(is_image_name, loose_files(top)))
    if not images:
        return []
    first = (top / images[0]).relative_to(data).as_posix()
    return [f"left out: {_images(len(images))} beside the class folders, without a label; the first is {first!r}"]


def _has_images(folder: Path) -> bool:
    return any(map(is_image_name, loose_files(folder)))


def _images(count: int) -> str:
    return f"{count} image{'s' if count != 1 else ''}"


def _named(folder: Path, root: Path) -> str:
    return f"{folder.relative_to(root).as_posix()}/"


def _check_known(held_out: list[Candidate], known: set[str]) -> None:
    for candidate in held_out:
        if candidate.label_name not in known:
            raise InputError(
                f"Each held-out class needs training images, but {candidate.label_name!r} ({candidate.path}) has none: "
                f"rename or remove it; the classes are {', '.join(sorted(known)[:10])}."
            )
