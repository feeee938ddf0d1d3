"""The example images of a finished study, with heat maps and boxes."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from study.products.examples import BOX_COLUMNS
from study.results import EXAMPLES_COLUMNS, EXAMPLES_MORE_COLUMNS
from tests.finished import Finished, finish


def test_the_examples_come_with_what_the_winner_looked_at(finished: Finished) -> None:
    table = pd.read_csv(finished.out / "examples" / "examples.csv")
    assert list(table.columns) == [*EXAMPLES_COLUMNS, *EXAMPLES_MORE_COLUMNS]
    assert set(table["kind"]) <= {"drawn", "error", "confused"}
    for names in zip(table["file"], table["heatmap"], strict=True):
        sides = {Image.open(finished.out / "examples" / name).size for name in names}
        assert len(sides) == 1
    assert table["energy_in_box"].isna().all()  # these images have no boxes


def test_heat_is_measured_in_the_box_of_the_object(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Images of 24 x 20; the view is their center square, columns 2 to 22: the box holds its left half.
    import study.setup.prepare

    def with_boxes(*arguments: Any) -> pd.DataFrame:
        return read_manifest(*arguments).assign(**dict(zip(BOX_COLUMNS, (0, 0, 12, 20), strict=True)))

    read_manifest = study.setup.prepare.read_manifest
    monkeypatch.setattr(study.setup.prepare, "read_manifest", with_boxes)
    table = pd.read_csv(finish(tmp_path_factory.mktemp("boxes")).out / "examples" / "examples.csv")
    np.testing.assert_allclose(table["box_share"], 0.5)
    energy = table["energy_in_box"].dropna()
    assert len(energy) > 0
    assert energy.between(0, 1).all()
    assert energy.nunique() > 1
