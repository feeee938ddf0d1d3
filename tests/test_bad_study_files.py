"""Wrong study files and names of studies are refused in one line; see the fixture `fails`."""

import os
import re
from pathlib import Path

import pytest

from study.run import main
from tests.tiny import STUDY_FILE, Fails, write_study


def test_unknown_studies(fails: Fails) -> None:
    fails("No study named 'dgos'.*digits, .*dogs, folder.*Did you mean 'dogs'", study="dgos")
    fails("No study named '../study/run'", study="../study/run")
    fails("No study file 'nowhere/mine.py'.*--new NAME", study="nowhere/mine.py")


@pytest.mark.parametrize(
    ("old", "new", "pattern"),
    [
        ("STUDY =", "OTHER =", "must define STUDY = "),
        ("from study.spec", "import sys; sys.exit(0)\nfrom study.spec", "SystemExit"),
        ('dataset="folder"', 'dataset="foo"', "Unknown dataset 'foo'; known: digits, folder"),
        ('"none", "dropout"', '"none", "dropuot"', "Unknown regularizer 'dropuot'; known: none, dropout"),
        ('"none", "dropout"', '"none"', "at least two different levels"),
        ('"augmentation":', '"augmentatoin":', "Unknown factor 'augmentatoin'; known: .*augmentation"),
        ('"size": 16, ', "", "must give the images' `size`"),
        ('"size": 16', '"size": "big"', "`size` must be a whole number above 0, but got 'big'"),
        ('"batch_size": 8', '"batch_size": 0', "`batch_size` must be a whole number above 0, but got 0"),
        ('"backbone": "small_cnn"', '"backbone": 5', "`backbone` must be a string, but got 5"),
        ('"backbone": "small_cnn", ', "", "must name its `backbone`"),
        ('"backbone": "small_cnn"', '"backbone": "small_cmm"', "Unknown backbone 'small_cmm'"),
        ('"unfreeze": "all"', '"unfreeze": "al"', "Unknown unfreeze depth 'al'"),
        ('"unfreeze": "all"', '"unfreeze": "last 99 stages"', "'last 99 stages'"),
        ('"split": "60-20-20"', '"split": "60-20"', "'60-20'"),
        ('"split": "60-20-20"', '"learning_rate": 0.1', "'learning_rate' is two of them"),
        ("seeds=3", "seeds=0", "--seeds must be a whole number of at least 1, but got 0"),
        ("    budget=", '    goal="bst",\n    budget=', "Unknown goal 'bst'; known: factors, best"),
        ('strength_of("dropout")', 'strength_of("dropout", "l2")', "regularizer=l2"),
        ("adaptive(1e-3, 1e-1)", "adaptive(1e-1, 1e-3)", "`low < high` must hold"),
        ("STUDY =", "1 / 0\nSTUDY =", r"tiny\.py, line 9: cannot be read as a study \(ZeroDivisionError"),
        ("Study(\n", "Study((\n", r"tiny\.py, line \d+: .*SyntaxError"),
        ("optimizers.adaptive", "optimizers.adaptve", "AttributeError: .*'adaptve'.*Did you mean 'adaptive'"),
        ("budget=Budget", "budget=Budgt", "NameError: name 'Budgt'.*Did you mean 'Budget'"),
        ("factors=", "factor=", "argument 'factor'; known: .*Did you mean 'factors'"),
        ("trials=16", "trial=16", "argument 'trial'; known: .*Did you mean 'trials'"),
        ('"folder"', '"foldr"', "Unknown dataset 'foldr'; known: .*Did you mean 'folder'"),
        ('"none", "light"', '"none", "ligth"', "Unknown augmentation 'ligth'; known: .*Did you mean 'light'"),
        ('"small_cnn"', '"ResNet19"', r"Unknown backbone 'ResNet19': use .*Did you mean 'resnet1\d"),
        ('"small_cnn"', '"vit_tiny_patch16_224"', "accepts only images of 224 px, but `size` is 16"),
        (
            '"augmentation": ["none", "light"]',
            '"augmentation": "light"',
            "must be a list of its levels, but got 'light'",
        ),
        ("optimizers.adaptive(1e-3, 1e-1)", '{"learning_rate": 0.1}', "must be a Range, but 'learning_rate' is 0.1"),
        ("control=False", 'control="no"', "`control` must be True or False, but got 'no'"),
        ("trials=16", "trials=True", "--trials must be a whole number of at least 1, but got True"),
        ('"size": 16', '"size": 0', "`size` must be a whole number above 0, but got 0"),
        (
            '"size": 16',
            '"size": 16, "label_smoothing": 1.5',
            "`label_smoothing` must be at least 0 and below 1, but got 1.5",
        ),
        ('"size": 16', '"size": 16, "optimizer": "sgd", "momentum": 2', "`momentum` must be at least 0 and below 1"),
        ('"size": 16', '"size": 16, "layer_decay": 0', "`0 < layer_decay <= 1` must hold, but got 0"),
        ('"size": 16', '"size": 16, "clip_norm": -1', "`clip_norm > 0` must hold, but got -1"),
        ('"size": 16', '"size": 16, "ema_decay": 1', "`ema_decay` must be at least 0 and below 1, but got 1"),
        (
            '"size": 16',
            '"size": 16, "weight_decay": float("inf")',
            "`weight_decay` must be a finite number, but got inf",
        ),
        ('"size": 16', '"size": 16, "patience": 4', "patience 4 stops no trial within 4 epochs"),
        (
            '"size": 16',
            '"size": 16, "region": "box"',
            "'box' needs images with boxes, but these have none: leave it out",
        ),
        ('"60-20-20"', '"50-50"', "A split is train-val-test in percent.*but got '50-50'"),
        ("adaptive(1e-3, 1e-1)", "adaptive(-1e-3, 1e-1)", "`low > 0` must hold on a log scale"),
        (
            "optimizers.adaptive(1e-3, 1e-1)",
            '{"label_smoothing": regularizers.Range(low=0.0, high=1.5)}',
            "Nuisance 'label_smoothing', from 0 to 1.5: `label_smoothing` must be",
        ),
    ],
)
def test_study_files_that_make_no_sense(fails: Fails, tmp_path: Path, old: str, new: str, pattern: str) -> None:
    assert old in STUDY_FILE
    fails(pattern, study=write_study(tmp_path, STUDY_FILE.replace(old, new, 1)))


def test_new_studies_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken.py").write_text("")
    for name, target, pattern in [
        ("dgos", "mine.py", "No study named 'dgos' to copy"),
        ("digits", "taken.py", "already exists"),
        ("digits", "mine.txt", "have a name such as my_study.py, but got 'mine.txt'"),
        ("digits", "my study.py", "have a name such as my_study.py"),
        ("digits", "nowhere/mine.py", "is not a folder: create it first"),
    ]:
        assert main(["--new", name, str(tmp_path / target)]) == 2
        assert re.search(pattern, capsys.readouterr().err)
    assert os.listdir(tmp_path) == ["taken.py"]
