"""Read the official split from the names of folders and files."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

FOLDS = ("train", "val", "test")

# The values that a column `split` may have.
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}

# Names that people give to folds, and the words they add: test_set, TRAIN, training_images, devset.
_WORDS = {
    "train": ("train", "training", "trn", "trainval"),
    "val": ("val", "valid", "validate", "validation", "dev", "devel", "development", "eval", "evaluation"),
    "test": ("test", "testing", "tst", "holdout", "heldout"),
}
_FOLD_OF_WORD = {word: fold for fold, words in _WORDS.items() for word in words}
_BESIDE = "set|sets|split|fold|data|dataset|images?|imgs?|pictures?|pics?|photos?|files?|folder|dir|samples?"
_GLUED = re.compile(rf"({'|'.join(sorted(_FOLD_OF_WORD, key=len, reverse=True))})(?:{_BESIDE})")
_PLAIN = re.compile(_BESIDE)


def words_of(name: str) -> list[str]:
    """Return the words of a file or folder name in lower case, without suffixes that are glued to fold words.

    TrainSet gives train and set, testset gives test, and hold-out gives holdout.
    """
    name = re.sub("(hold|held)[ _-]?out", lambda match: f"{match[1].lower()}out", name, flags=re.IGNORECASE)
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+", name)]
    glued = [_GLUED.fullmatch(word) for word in words]
    return [match[1] if match else word for match, word in zip(glued, words, strict=True)]


def fold_of(name: str, beside: Collection[str] = ()) -> str | None:
    """Return the fold that a name denotes; None if it has words other than fold words and the words in `beside`."""
    words = [word for word in words_of(name) if word not in beside and not _PLAIN.fullmatch(word)]
    folds = {_FOLD_OF_WORD.get(word) for word in words}
    return folds.pop() if len(folds) == 1 else None


def fold_in(name: str) -> str | None:
    """Return the only fold that a name mentions, whatever else it says, as in pets-val-000 or flowers_test_v2."""
    folds = {_FOLD_OF_WORD[word] for word in words_of(name) if word in _FOLD_OF_WORD}
    return folds.pop() if len(folds) == 1 else None


def says_nothing(name: str) -> bool:
    """Whether a folder name only says that it holds data, like images or data_set."""
    words = words_of(name)
    return bool(words) and all(map(_PLAIN.fullmatch, words))


def folds_of(names: Sequence[str]) -> list[str | None]:
    """Return the fold that each of several names denotes; words that all fold names share are ignored.

    For example, `seg` says nothing in seg_train and seg_test.
    """
    mentioning = [set(words_of(name)) for name in names if fold_in(name)]
    shared = set.intersection(*mentioning) if len(mentioning) > 1 else set()
    return [fold_of(name, shared - _FOLD_OF_WORD.keys()) for name in names]


def split_of(file: Path, data: Path) -> str | None:
    """Return the official split from a file's folders or name: train/0.tar, pets-val-000.tar, test-0-of-1.parquet."""
    return next(filter(None, map(fold_in, (*file.relative_to(data).parts[:-1], file.stem))), None)
