"""A Kaggle submission has the rows and columns of its sample, or is refused."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from study.predict import main
from study.products.best import load_best, logits, prepared, probabilities, views
from study.products.submission import read_sample, submission
from tests.finished import Finished
from trainables.data.images import decode
from trainables.errors import InputError


def write_sample(folder: Path, header: str, *ids: str) -> Path:
    file = folder / "sample_submission.csv"
    file.write_text("\n".join([header, *(each + ",0.5" * header.count(",") for each in ids)]) + "\n")
    return file


def test_a_submission_has_the_samples_rows_and_columns(finished: Finished, tmp_path: Path) -> None:
    best = load_best(finished.out)
    pictures = tmp_path / "test"
    pictures.mkdir()
    for number, name in enumerate(("red", "blue", "green"), start=1):
        shutil.copy(finished.pictures / name / "03.png", pictures / f"{number}.png")
    sample = write_sample(tmp_path, "id,Red,blue,green", "2", "1")  # the labels' case may differ
    made = tmp_path / "submission.csv"
    assert main([str(finished.out), str(pictures), "--submission", str(made), "--sample", str(sample)]) == 0
    table = pd.read_csv(made, dtype={"id": str})
    assert list(table.columns) == ["id", "Red", "blue", "green"]
    assert table["id"].tolist() == ["2", "1"]
    np.testing.assert_allclose(table[["Red", "blue", "green"]].sum(axis=1), 1, rtol=1e-6)
    picture = prepared(best, decode((pictures / "2.png").read_bytes()).pixels)
    expected = probabilities(best, logits(best, views(best, [picture])))[0]
    np.testing.assert_allclose(table.loc[0, ["blue", "green", "Red"]].astype(float), expected, rtol=1e-5)


def test_a_submission_without_all_its_images_is_refused(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, made = tmp_path / "test", tmp_path / "submission.csv"
    pictures.mkdir()
    shutil.copy(finished.pictures / "red" / "03.png", pictures / "1.png")
    sample = write_sample(tmp_path, "id,blue,green,red", "1", "2", "3")
    arguments = [str(finished.out), str(pictures), "--submission", str(made), "--sample", str(sample)]
    assert main(arguments) == 2
    assert "'2' is not among the images, and 1 more" in capsys.readouterr().err
    for number in (2, 3):
        (pictures / f"{number}.png").write_bytes(b"no image")
    assert main(arguments) == 2
    assert "'2' cannot be read, and 1 more" in capsys.readouterr().err.splitlines()[-1]
    shutil.copy(pictures / "1.png", pictures / "1.jpg")
    assert main(arguments) == 2
    assert "must be one image, but '1' is" in capsys.readouterr().err
    assert not made.exists()


def test_of_two_classes_one_column_is_the_second(tmp_path: Path) -> None:
    sample = read_sample(write_sample(tmp_path, "id,label", "7", "5"), ["cat", "dog"])
    text = submission(sample, {"5": np.array([0.25, 0.75]), "7": np.array([1 - 1e-7, 1e-7])})
    assert text == "id,label\n7,1e-07\n5,0.75\n"


@pytest.mark.parametrize("header", ["id,label", "id,cat,dog,emu", "id,cat,dog", "id,cat,cat,fox", "id"])
def test_a_sample_of_other_classes_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(InputError, match="--sample must have"):
        read_sample(write_sample(tmp_path, header, "1"), ["cat", "dog", "fox"])
