import pandas as pd
import pytest

from analysis.confirmed.settings import settings
from analysis.findings.data_size import data_size_sections, refusal, sizes
from analysis.layout.text import number
from study import results
from tests.fabricated import Plan, fabricate, rewrite
from tests.sized import FRACTIONS, POOL, fabricate_sizes, law


def section(out):
    read = results.read(out)
    (one,) = data_size_sections(read, settings(read), "")
    return one


def measured(out, factor="train_fraction"):
    read = results.read(out)
    frame = sizes(read, settings(read), factor)
    return frame, refusal(read, frame, factor)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return fabricate_sizes(tmp_path_factory.mktemp("sizes"))


def test_sizes_ascend_and_are_those_of_the_table(planted):
    frame, why = measured(planted)
    assert frame["pictures"].tolist() == [POOL * one for one in FRACTIONS]
    assert frame["level"].tolist() == ["0.25", "0.5", "0.75", "1"]
    assert frame["accuracy"].to_numpy() == pytest.approx([1 - law(one) for one in FRACTIONS], abs=0.03)
    assert ((frame["low"] < frame["accuracy"]) & (frame["accuracy"] < frame["high"])).all()
    assert why == ""


def test_a_law_that_holds_is_drawn_up_to_twice_the_largest_and_no_further(planted):
    one = section(planted)
    said = one.paragraphs[1]
    assert "fitted to the 3 smaller sizes predicts" in said
    assert f"for {number(1200)} images; measured: " in said
    assert "is consistent with the law" in said
    assert f"twice as many images ({number(2400)}) would give an accuracy of about 9" in said
    assert "The fit is not extrapolated further" in said
    assert len(one.tables[0].rows) == 4
    (picture,) = one.figures
    assert "power law" in picture.title


def test_a_bend_is_found_by_the_held_out_size_and_nothing_is_predicted(tmp_path):
    fabricate_sizes(tmp_path, lambda fraction: 0.25 if fraction == 1 else law(fraction))
    one = section(tmp_path)
    assert "is too large: the law does not hold here, so nothing is extrapolated." in one.paragraphs[1]
    assert "twice as many" not in " ".join(one.paragraphs)
    assert "power law" not in one.figures[0].title


def drop_level(level):
    return lambda trials: trials[(trials["phase"] != "confirm") | (trials["train_fraction"] != level)]


def other_augmentation(trials):
    return trials.assign(augmentation=trials["augmentation"].where(trials["train_fraction"] != 0.5, "none"))


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (drop_level(0.5), "it takes at least 4 different sizes, and this study has 3"),
        (lambda t: t[(t["phase"] != "confirm") | (t["seed"] < 3)], "at least 3 seeds for each size, and one has 2"),
        (
            lambda t: t[(t["phase"] != "confirm") | (t["seed"] != t["train_fraction"] * 4)],
            "the sizes do not have the same seeds",
        ),
        (
            lambda t: t.assign(train_pictures=t["train_pictures"].where(t["train_fraction"] < 1, 9 * POOL)),
            f"the largest size is more than 2 times the next ({number(10_800)} and 900)",
        ),
        (lambda t: t.assign(train_pictures=POOL), "it takes at least 4 different sizes, and this study has 1"),
        (other_augmentation, "the sizes also differ in other factors"),
    ],
)
def test_what_supports_no_law_is_refused_in_words(edit, why, tmp_path):
    fabricate_sizes(tmp_path, items=60)
    rewrite(tmp_path, "trials", edit)
    assert why in measured(tmp_path)[1]


def test_before_the_test_fold_is_opened_there_is_validation_and_no_law(tmp_path):
    fabricate_sizes(tmp_path, items=60)
    (tmp_path / results.PREDICTIONS_FILE).unlink()
    one = section(tmp_path)
    assert "Accuracy on validation by training images" in one.figures[0].title
    assert "No extrapolation: the test fold has not been opened yet" in one.paragraphs[1]


def test_a_size_without_errors_has_no_place_in_a_law(tmp_path):
    fabricate_sizes(tmp_path, lambda fraction: 0.0 if fraction == 1 else law(fraction), items=60, spread=0.0)
    rewrite(tmp_path, "predictions", lambda p: p.assign(predicted=p["label"]))
    assert "a power law cannot fit a size without errors" in measured(tmp_path)[1]


def test_ratios_are_sizes_too_and_the_manifest_tells_them_where_no_column_does(tmp_path):
    levels = ["80-10-10", "60-30-10"]
    fabricate(tmp_path, Plan(factors={"split": levels}, winner={"split": levels[0]}, items=60, trials=6))

    def folds(manifest: pd.DataFrame) -> pd.DataFrame:
        train = manifest["fold"].where(manifest["fold"] != "pool", "train")
        return manifest.assign(**{"split_80-10-10": train, "split_60-30-10": train.where(manifest["item"] % 2 == 0)})

    rewrite(tmp_path, "manifest", folds)
    frame, why = measured(tmp_path, "split")
    assert dict(zip(frame["level"], frame["pictures"], strict=True)) == {"80-10-10": 120, "60-30-10": 60}
    assert "and this study has 2" in why
    rewrite(tmp_path, "trials", lambda t: t.assign(train_pictures=120.0))
    read = results.read(tmp_path)
    assert data_size_sections(read, settings(read), "") == [], "one size is no curve"
