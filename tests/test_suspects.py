"""Thumbnails of the images whose label the winner's models find least probable."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from study.persistence.trial_files import predictions_file
from study.products.suspects import MOST, least_probable, write_suspects
from tests.finished import TRIAL, Finished


def written(folder: Path, **probabilities: list[float]) -> list[Path]:
    """A file of predictions a trial; the n-th number is its probability of the label of item n."""
    files = [folder / f"{trial}.parquet" for trial in probabilities]
    for file, each in zip(files, probabilities.values(), strict=True):
        pd.DataFrame({"item": range(len(each)), "cross_entropy": -np.log(each)}).to_parquet(file)
    return files


def test_the_least_probable_labels_first_by_the_mean_over_models(tmp_path: Path) -> None:
    assert least_probable(written(tmp_path, a=[0.9, 0.3, 0.2, 0.6], b=[0.9, 0.1, 0.3, 0.3])) == [1, 2, 3]
    assert least_probable(written(tmp_path, a=[0.1] * 60, b=[0.01] * 7)) == [*range(7), *range(7, MOST)]
    assert least_probable([]) == []


def test_thumbnails_replace_those_of_an_earlier_winner(finished: Finished) -> None:
    examples = finished.out / "examples"
    kept = {file.name for file in examples.iterdir()}
    (examples / "suspect-99.jpg").write_bytes(b"of another winner")
    file = predictions_file(finished.out, TRIAL)
    seen = pd.read_parquet(file)
    doubted = seen["item"].sample(3, random_state=0).tolist()
    seen.assign(cross_entropy=np.where(seen["item"].isin(doubted), 5.0, 0.01)).to_parquet(file)
    write_suspects(finished.course, finished.record, finished.place)
    made = {each.name for each in examples.iterdir()} - kept
    assert made == {f"suspect-{item}.jpg" for item in doubted}
    assert all(max(Image.open(examples / name).size) <= 160 for name in made)
