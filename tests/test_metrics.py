import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from analysis.confirmed.outputs import outputs
from analysis.confirmed.settings import settings, winner
from analysis.findings.confusion import classes, means_sentence
from analysis.findings.metrics import metrics_section, metrics_table
from study import results
from tests.fabricated import Plan, fabricate
from trainables import metrics
from trainables.metrics import log_softmax

# Class 3 has no image and is named once; class 0: 1 of 2, class 1: 2 of 3, class 2: 1 of 2 right.
LABELS = np.array([0, 0, 1, 1, 1, 2, 2])
PREDICTED = np.array([0, 1, 1, 1, 0, 2, 3])


def test_means_over_classes_by_hand_with_a_class_without_images():
    scored = metrics.all_metrics(LABELS, PREDICTED, np.log(np.full((7, 4), 0.25)))
    assert scored["accuracy"] == pytest.approx(4 / 7)
    assert scored["balanced_accuracy"] == scored["macro_recall"] == pytest.approx((1 / 2 + 2 / 3 + 1 / 2) / 3)
    assert scored["macro_precision"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert scored["macro_f1"] == pytest.approx((1 / 2 + 2 / 3 + 2 / 3) / 3)
    # Named twice, thrice and once; the images are 2, 3 and 2 of 7.
    assert scored["weighted_precision"] == pytest.approx((2 / 2 + 3 * 2 / 3 + 2 * 1) / 7)
    assert scored["weighted_f1"] == pytest.approx((2 / 2 + 3 * 2 / 3 + 2 * 2 / 3) / 7)
    assert scored["auroc"] == 0.5  # all alike: every pair is a tie
    assert scored["log_loss"] == pytest.approx(np.log(4))
    assert np.isnan(scored["top5"])


def test_means_over_seeds_by_hand():
    """Seed 2 scores 0.4 less than seed 1. A setting without it is scored as if it had it."""
    whole, lacking = [(1, 0.9), (2, 0.5)], [(1, 0.8)]
    assert metrics.means_over_seeds([whole, lacking]) == pytest.approx([0.7, 0.6])
    assert metrics.means_over_seeds([whole, [(2, 0.6), (1, 0.6)]]) == pytest.approx([0.7, 0.6])
    assert metrics.means_over_seeds([]) == []


def test_everything_agrees_with_scikit_learn():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 7, 300)
    log_p = log_softmax(rng.normal(size=(300, 7)) + 1.5 * np.eye(7)[labels])
    p, predicted = np.exp(log_p), log_p.argmax(axis=1)
    scored = metrics.all_metrics(labels, predicted, log_p)
    assert scored == pytest.approx(
        {
            "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(labels, predicted),
            "macro_precision": sklearn_metrics.precision_score(labels, predicted, average="macro"),
            "macro_recall": sklearn_metrics.recall_score(labels, predicted, average="macro"),
            "macro_f1": sklearn_metrics.f1_score(labels, predicted, average="macro"),
            "weighted_precision": sklearn_metrics.precision_score(labels, predicted, average="weighted"),
            "weighted_f1": sklearn_metrics.f1_score(labels, predicted, average="weighted"),
            "auroc": sklearn_metrics.roc_auc_score(labels, p, multi_class="ovr"),
            "log_loss": sklearn_metrics.log_loss(labels, p),
            "top5": sklearn_metrics.top_k_accuracy_score(labels, p, k=5),
        }
    )


def test_auroc_of_two_classes_is_the_plain_one_even_where_probabilities_round_to_one():
    assert metrics.auroc(np.array([0, 0, 1, 1]), np.log([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])) == 0.75
    surest = log_softmax([[0.0, 50.0], [0.0, 60.0]])
    assert metrics.auroc(np.array([0, 1]), surest) == 1
    assert np.isnan(metrics.auroc(np.array([1, 1]), surest))


def test_top_counts_classes_that_are_likelier():
    log_p = log_softmax(np.arange(8.0)[None, :].repeat(3, axis=0))
    assert metrics.top_k_accuracy(np.array([7, 3, 2]), log_p, 5) == pytest.approx(2 / 3)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    plan = Plan(classes=tuple("abcdefgh"), items=80, seeds=3, trials=6)
    return results.read(fabricate(tmp_path_factory.mktemp("metrics"), plan), logits=True)


def test_every_setting_on_test_and_validation(read):
    found = settings(read)
    table = metrics_table(found, outputs(read))
    assert table.groupby("fold", sort=False)["setting"].size().to_dict() == {"test": len(found), "val": len(found)}
    assert table["setting"].iloc[0].endswith("the winner)")
    best = winner(found)
    assert best is not None
    of_winner = read.predictions["trial"].isin(best.trials["trial"])
    test = read.predictions[of_winner & (read.predictions["fold"] == "test")]
    assert table["accuracy"].iloc[0] == pytest.approx((test["label"] == test["predicted"]).mean())
    assert table["log_loss"].iloc[0] == pytest.approx(test["cross_entropy"].mean(), abs=1e-3)
    assert table["top5"].between(table["accuracy"], 1).all()
    assert (table["absent"] == 0).all()


def test_classes_without_images_are_said(read):
    few = read.predictions[read.predictions["label"] < 6]
    less = results.Results(read.out, read.study, read.manifest, read.trials, read.epochs, few)
    section = metrics_section(less, settings(less), outputs(less), "")
    assert section is not None
    assert section.paragraphs[-1].endswith("left out of the macro averages: 2 on test, 2 on validation.")


def test_without_logits_there_is_no_section(read):
    bare = results.read(read.out)
    assert metrics_section(bare, settings(bare), outputs(bare), "") is None


def test_logits_of_another_length_are_refused(read):
    odd = read.predictions.assign(logits=[np.zeros(4, np.float16)] * len(read.predictions))
    with pytest.raises(results.ResultsError, match="one number for each class"):
        outputs(results.Results(read.out, read.study, read.manifest, read.trials, read.epochs, odd)).of(
            "confirm-000", "test"
        )


def test_the_classification_report_by_hand():
    """Two seeds; the class without an image comes last and is left out of the means."""
    matrix = pd.DataFrame([[3, 1, 0], [1, 4, 1], [0, 0, 0]])
    names = pd.Series(["ant", "bee", "cat"])
    table = classes(matrix, names, seeds=2)
    assert table["label"].tolist() == ["bee", "ant", "cat"]
    assert table["support"].tolist() == [3, 2, 0]
    assert table["precision"].tolist() == pytest.approx([4 / 5, 3 / 4, 0])
    assert table["recall"].tolist() == pytest.approx([4 / 6, 3 / 4, np.nan], nan_ok=True)
    assert table["f1"].tolist() == pytest.approx([8 / 11, 3 / 4, np.nan], nan_ok=True)
    assert "Macro average of 2 classes: precision 77.5" in means_sentence(table)
    assert "left out: 1 without test images" in means_sentence(table)
