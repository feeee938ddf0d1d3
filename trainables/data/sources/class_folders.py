"""One folder with images per class, or train/, val/ and test/ folders of such, whatever their owner calls them."""

from dataclasses import replace
from pathlib import Path

from trainables.data.manifest import Candidate, Source
from trainables.data.sources import class_names
from trainables.data.sources.folds import FOLDS, fold_in, fold_of, folds_of, says_nothing
from trainables.data.sources.tree import Walk, files_below, is_image_name, loose_files, passed_by, visible_folders
from trainables.errors import InputError

_WANTED = "train/, val/ and test/"
_NAMED = 20  # empty class folders


class NoClassFolders(InputError):
    """There are no folders with files to be classes, so whatever else lies there may have been meant."""


def read(data: Path) -> Source:
    """Every visible file below a class folder."""
    walk = Walk(data)
    top = _unwrapped(data, walk)
    inside = "" if top == data else f", in {_named(top, data)}"
    folders = visible_folders(top, walk)
    if folds := _folds(folders, Walk(data)):  # which looks into what will be read again
        source = _from_folds(folds, data, walk)
        beside = [folder for folder in folders if folder not in folds]
        notes = [*source.notes, *(f"left out: {_flat(folder, data)}, and is no fold" for folder in beside)]
    else:
        found, notes = _from_classes(top, data, walk)
        source, notes = Source(found, layout="one folder per class"), notes + _beside(top, data)
    return replace(source, layout=source.layout + inside, notes=notes + passed_by(walk))


def _from_folds(folds: dict[Path, str], data: Path, walk: Walk) -> Source:
    found: list[Candidate] = []
    notes: list[str] = []
    said: list[str] = []
    for folder, fold in sorted(folds.items(), key=lambda pair: (FOLDS.index(pair[1]), pair[0])):
        if fold != "train" and _is_flat(folder, walk):
            notes.append(f"left out: {_flat(folder, data)}, so no labels")
            continue
        top = _inner(folder, walk)
        new, more = _from_classes(top, data, walk, fold)
        found += new
        notes += more + _beside(top, data)
        said.append(f"{_named(folder, data)} ({fold})")
    known = {one.label_name for one in found if one.official_split == "train"}
    _check_known([one for one in found if one.official_split != "train"], known)
    return Source(found, layout=f"one folder per class within each fold: {', '.join(said)}", notes=notes)


def own_test(test: Path, training: list[Candidate]) -> list[Candidate]:
    """The user's own test images, in class folders outside of the data folder; their paths are absolute."""
    if not test.is_dir():
        raise InputError(f"The test images must be a folder of class folders, but {test} is none: give --test.")
    if any(one.official_split == "test" for one in training):
        raise InputError(f"One test set is enough, but the data has one and {test} is another: leave one out.")
    root = test.absolute()
    found = [
        Candidate(str(root / one.path), one.label_name, "test") for one in _from_classes(root, root, Walk(root))[0]
    ]
    _check_known(found, {one.label_name for one in training})
    return found


def _unwrapped(data: Path, walk: Walk) -> Path:
    """The folder to read: where all lies in one folder, as archives are unpacked, that one."""
    folders = visible_folders(data, walk)
    if len(folders) != 1 or fold_of(folders[0].name) or _has_images(folders[0]):
        return data
    return _unwrapped(folders[0], walk) if visible_folders(folders[0], walk) else data


def _inner(folder: Path, walk: Walk) -> Path:
    """The folder with a fold's classes: of seg_train/seg_train/CLASS and of train/images/CLASS the inner one."""
    inner = visible_folders(folder, walk)
    if len(inner) != 1 or _has_images(inner[0]):
        return folder
    name, fold = inner[0].name, fold_in(folder.name)
    again = name == folder.name or says_nothing(name) or (fold and fold_in(name) == fold)
    return inner[0] if again else folder


def _is_flat(folder: Path, walk: Walk) -> bool:
    """Whether a folder has no class folders, such as a test set without labels: test/1.jpg or test/test/1.jpg."""
    inner = visible_folders(folder, walk)
    return not inner or ([one.name for one in inner] == [folder.name] and not visible_folders(inner[0], walk))


def _flat(folder: Path, data: Path) -> str:
    count = sum(map(is_image_name, files_below(folder, data)))
    return f"{_named(folder, data)!r} ({_images(count)}), which has no class folders"


def _folds(folders: list[Path], walk: Walk) -> dict[Path, str]:
    """The fold of each folder; empty where they are classes.

    Raises:
        InputError: some are folds and others not, or they look like folds and their names do not say which.
    """
    inner = {folder: _names_within(_inner(folder, walk), walk) for folder in folders}
    meant = {
        folder: fold for folder, fold in zip(folders, folds_of([one.name for one in folders]), strict=True) if fold
    }
    loose = {folder: fold for folder in folders if (fold := fold_in(folder.name))}
    deep = [inner[folder] for folder in loose if not _is_flat(folder, walk)]
    alike = len(deep) > 1 and set.intersection(*deep)
    alone = next((folder for folder, fold in meant.items() if fold == "train"), None)
    if alone and len(folders) == 1:
        return meant
    others = [folder for folder in folders if folder != alone]
    if alone and len(inner[alone]) > 1 and not _has_images(alone) and all(_is_flat(one, walk) for one in others):
        return meant  # what lies beside it has no classes
    for folds in (meant, loose if alike else {}):
        if "train" in folds.values() and len(set(folds.values())) > 1:  # a class may be called train
            other = next((one for one in folders if one not in folds and not _is_flat(one, walk)), None)
            if other is not None:
                raise InputError(f"Beside {_WANTED} no other folder may stand, but {other} does: move it away.")
            return folds
    if len(folders) > 1:
        common, union = set.intersection(*inner.values()), set.union(*inner.values())
        if len(common) > 1 and (loose or 2 * len(common) >= len(union)):
            _refuse(folders, common)
    names = {class_names.clean(folder.name) for folder in folders}
    if within := next((folder for folder in meant if inner[folder] & (names - {folder.name})), None):
        raise InputError(
            f"Class folders stand beside the fold {within}, which holds {sorted(inner[within] & names)[0]!r}, too: "
            "move them into train/."
        )
    return {}


def _names_within(folder: Path, walk: Walk) -> set[str]:
    return {class_names.clean(one.name) for one in visible_folders(folder, walk)}


def _refuse(folders: list[Path], common: set[str]) -> None:
    names = ", ".join(repr(folder.name) for folder in folders[:3])
    within = ", ".join(repr(name) for name in sorted(common)[:3])
    folds = set(folds_of(sorted(common)))
    if "train" in folds and len(folds - {None}) > 1:
        raise InputError(
            f"Folds are outside and classes within, as train/CLASS, but {names} hold {within}: move the folders, "
            "or list the images in a CSV of path, label and split."
        )
    raise InputError(
        f"Folders with the same folders in them look like folds of a data set, but the names {names} (with {within} "
        f"in each) do not say which: rename them to {_WANTED}; if they are the classes, give the folders in them "
        "different names, or list the images in a CSV of path and label."
    )


def _from_classes(folder: Path, root: Path, walk: Walk, fold: str | None = None) -> tuple[list[Candidate], list[str]]:
    """The files of each class folder, and a line for each class folder that says less than it seems to."""
    found: list[Candidate] = []
    empty = []
    classes = visible_folders(folder, walk)
    for one in classes:
        paths = files_below(one, root, walk)
        label = class_names.clean(one.name) or one.name
        found += [Candidate(path, label, fold) for path in paths]
        if not paths and one not in walk.passed:
            empty.append(_named(one, root))
    if not found:
        left_out = next((f" ({line})" for line in passed_by(walk) if line.startswith("left out")), "")
        raise NoClassFolders(
            f"A folder of images has one subfolder with images per class, but {folder} has none{left_out}: "
            "sort the images into subfolders, or list them in a CSV of path and label at the top of the data."
        )
    notes = class_names.written_twice(one.name for one in classes)
    if empty:
        names = ", ".join(map(repr, empty[:_NAMED])) + (f" and {len(empty) - _NAMED} more" if empty[_NAMED:] else "")
        notes.append(f"left out: {names}: a class folder without any image, of which nothing can be learned")
    return found, notes


def _beside(top: Path, data: Path) -> list[str]:
    """What lies beside the class folders, where a table would have given it a label."""
    images = list(filter(is_image_name, loose_files(top)))
    if not images:
        return []
    first = (top / images[0]).relative_to(data).as_posix()
    return [f"left out: {_images(len(images))} beside the class folders, without a label, the first is {first!r}"]


def _has_images(folder: Path) -> bool:
    return any(map(is_image_name, loose_files(folder)))


def _images(count: int) -> str:
    return f"{count} image{'s' if count != 1 else ''}"


def _named(folder: Path, root: Path) -> str:
    return f"{folder.relative_to(root).as_posix()}/"


def _check_known(found: list[Candidate], known: set[str]) -> None:
    for one in found:
        if one.label_name not in known:
            raise InputError(
                f"Each held-out class needs training images, but {one.label_name!r} ({one.path}) has none: "
                f"rename it or take it away; the classes are {', '.join(sorted(known)[:10])}."
            )
