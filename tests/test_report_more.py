"""What a study may add to its tables: another metric, heat maps, sizes, neighbors, pretraining overlap."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis import report
from analysis.confirmed.settings import settings, winner
from analysis.findings.caveats import caveats_section
from analysis.layout.text import decimals, millions
from analysis.statistics.inference import wilson
from study import results
from tests.fabricated import Plan, fabricate, rewrite, with_study

PLAN = Plan({"f": ["x", "y"]}, {"f": "y"}, items=40, seeds=3, trials=4, accuracy={("f", "x"): 0.6})


def built(out):
    report.build(out)
    return (out / results.REPORT_HTML).read_text()


def levels_of_the_winner(out: Path) -> dict[str, str]:
    best = winner(settings(results.read(out)))
    assert best is not None
    return best.levels


@pytest.mark.parametrize(
    ("metric", "of_x", "won"),
    [("val_macro_f1", 0.99, "x"), ("val_macro_f1", 0.01, "y"), ("val_log_loss", 0.01, "x"), ("val_log_loss", 9.0, "y")],
)
def test_the_winner_is_chosen_by_the_studys_metric(tmp_path, metric, of_x, won):
    with_study(fabricate(tmp_path, PLAN), metric=metric)
    rewrite(tmp_path, "trials", lambda t: t.assign(val_metric=np.where(t["f"] == "x", of_x, 0.5)))
    assert levels_of_the_winner(tmp_path) == {"f": won}
    said = "macro F1" if metric == "val_macro_f1" else "log-loss"
    text = built(tmp_path)
    assert f"It was selected on validation data only, by {said} (" in text
    assert "The comparisons of levels below use accuracy." in text
    assert f"Recommended setting: f {won}. Test accuracy " in text


@pytest.mark.parametrize("metric", ["accuracy", "val_accuracy"])
def test_accuracy_needs_no_column_of_its_own(tmp_path, metric):
    with_study(fabricate(tmp_path, PLAN), metric=metric)
    assert levels_of_the_winner(tmp_path) == {"f": "y"}


@pytest.mark.parametrize(("metric", "said"), [("val_speed", "'val_speed' is unknown"), ("val_auroc", "'val_metric'")])
def test_a_metric_that_cannot_be_followed_is_refused(tmp_path, capsys, metric, said):
    with_study(fabricate(tmp_path, PLAN), metric=metric)
    assert report.main([str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overlap", "said"),
    [
        ("full", "was pretrained on these images: full overlap."),
        ("partial", "was pretrained on some of these images: partial overlap."),
        ("unknown", "unknown whether the backbone was pretrained on these images."),
        ("none", ""),
        (None, ""),
    ],
)
def test_pretraining_overlap_stands_beside_every_score(tmp_path, overlap, said):
    with_study(fabricate(tmp_path, PLAN), pretraining_overlap=overlap)
    text = built(tmp_path)
    if not said:
        assert "Caution: " not in text
        assert "pretraining" not in text
        return
    assert text.count("Caution: ") == 1
    captions = [line for line in text.splitlines() if "<caption " in line and said in line]
    stems = {line.split('id="table-')[1].split('"')[0] for line in captions}
    assert stems == {"winner", "compare-f", "classes", "metrics", "ensembles"}


def test_galleries_by_kind_with_heat_maps(tmp_path):
    fabricate(tmp_path, PLAN)
    folder = tmp_path / results.EXAMPLES_FOLDER
    folder.mkdir()
    for stem in ("a", "a-heat", "b", "b-heat", "c"):
        Image.new("RGB", (4, 4)).save(folder / f"{stem}.png")
    rows = [
        ("b.png", "ant", "bee", 0.9, "error", "b-heat.png", 0.2, 0.1),
        ("a.png", "ant", "ant", 0.8, "drawn", "a-heat.png", 0.7, None),
        ("c.png", "cat", "cat", 0.7, "drawn", "gone.png", 0.5, None),
        ("a.png", "ant", "ant", 0.8, "of a kind of its own", "../study.json", None, None),
    ]
    columns = [*results.EXAMPLES_COLUMNS, "kind", "heatmap", "energy_in_box", "box_share"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / results.EXAMPLES_FILE, index=False)
    text = built(tmp_path)
    titles = ["<h3>Random sample</h3>", "<h3>Most confident errors</h3>", "<h3>of a kind of its own</h3>"]
    assert sorted(titles, key=text.index) == titles
    assert text.count('src="data:image/png;base64,') == 6
    assert text.count('alt="Its Grad-CAM heat map"') == 2
    assert "20.0% of the heat map inside the box" in text
    assert "most confident errors 20.0% (1 image; a uniform map: 10.0%), random " in text
    assert "sample 60.0% (2 images)." in text


def test_sizes_of_models_are_shown_where_a_level_changes_them(tmp_path):
    fabricate(tmp_path, PLAN)
    rewrite(
        tmp_path,
        "trials",
        lambda t: t.assign(parameters=4_007_548, trained_parameters=np.where(t["f"] == "x", 12_810, 4_007_548)),
    )
    built(tmp_path)
    compared = pd.read_csv(tmp_path / "tables" / "compare-f.csv")
    assert compared["trained_parameters"].tolist() == [12_810, 4_007_548]
    text = (tmp_path / results.REPORT_MARKDOWN).read_text()
    assert "12.8k" in text
    assert "time per trial | trained parameters |" in text  # all parameters are as many under both levels
    assert "parameters" in pd.read_csv(tmp_path / "tables" / "generalization.csv")


KNN = "backbone,trained_on,features,metric,k,fold,accuracy,n,fit_seconds,predict_seconds,chosen\n"
KNN += "resnet50,ImageNet,pooled,cosine,10,val,0.75,100,0.1,0.2,True\n"
KNN += "resnet50,ImageNet,pooled,cosine,10,test,0.7,200,0.1,0.2,True\n"
KNN += "resnet50,ImageNet,pooled,euclidean,3,test,0.9,200,0.1,0.2,False\n"
RETRIEVAL = "backbone,classes,pictures,recall_at_1,recall_at_2,recall_at_4,recall_at_8,map_at_r,r_precision,seconds\n"
RETRIEVAL += "resnet50,98,8131,0.5,0.6,0.7,0.8,0.123,0.25,3.0\n"


def test_neighbors_and_retrieval_are_shown_and_stay(tmp_path):
    (fabricate(tmp_path, PLAN) / "tables").mkdir()
    (tmp_path / "tables" / "knn.csv").write_text(KNN)
    (tmp_path / "tables" / "retrieval.csv").write_text(RETRIEVAL)
    first, again = built(tmp_path), built(tmp_path)
    assert first == again
    assert "k-NN test accuracy 70.0" in first
    assert ">Retrieval</h2>" in first
    assert ">0.123</td>" in first


def test_the_model_trained_once_more_is_shown_beside_the_winner(tmp_path):
    fabricate(tmp_path, PLAN)
    trials = pd.read_parquet(tmp_path / results.TRIALS_FILE)
    again = (
        trials[trials["phase"] == "confirm"].groupby("arm").head(1)
    )  # of the winner, and of others that do not count
    again = again.assign(trial="retrain-" + again["arm"], phase="retrain", val_accuracy=np.nan)
    rewrite(tmp_path, "trials", lambda t: pd.concat([t, again]))
    rewrite(
        tmp_path,
        "predictions",
        lambda t: pd.concat(
            [
                t,
                *(
                    t[t["trial"] == t["trial"].iloc[0]].assign(trial=name, predicted=t["label"])
                    for name in again["trial"]
                ),
            ]
        ),
    )
    built(tmp_path)
    shown = pd.read_csv(tmp_path / "tables" / "winner.csv").set_index("model")
    row = shown.to_dict("index")["retrained on training and validation"]
    assert row["accuracy"] == 1
    assert (row["low"], row["high"]) == pytest.approx(wilson(40, 40))


def test_a_table_of_neighbors_without_its_columns_is_refused(tmp_path, capsys):
    (fabricate(tmp_path, PLAN) / "tables").mkdir()
    (tmp_path / "tables" / "knn.csv").write_text("backbone\nresnet50\n")
    assert report.main([str(tmp_path)]) == 2
    assert "knn.csv: no column 'trained_on'" in capsys.readouterr().err


def test_a_study_without_logits_is_still_a_study(tmp_path):
    fabricate(tmp_path, PLAN)
    rewrite(tmp_path, "predictions", lambda t: t.drop(columns="logits"))
    text = built(tmp_path)
    assert "Confusion matrix" in text
    assert "Other metrics" not in text
    assert "Ensembles" not in text


def test_how_losses_and_sizes_are_said():
    assert [decimals(x) for x in (0.12345, -0.5, np.nan)] == ["0.123", "−0.500", "–"]
    assert [millions(x) for x in (950, 12_810, 4_007_548, None)] == ["950", "12.8k", "4.0M", "–"]


def test_what_a_study_cost_is_said_and_divided_among_its_phases(tmp_path):
    with_study(fabricate(tmp_path, PLAN), wall_seconds=1800.0, price=2.5, nodes=4)
    text = built(tmp_path)
    assert "The study cost 5.00: its wall time on 4 nodes at 2.50 per node and hour." in text
    phases = pd.read_csv(tmp_path / "tables" / "trials.csv")
    assert phases["cost"].sum() == pytest.approx(5.0)
    shares = phases["seconds"] / phases["seconds"].sum()
    assert (phases["cost"] / 5.0).tolist() == pytest.approx(shares.tolist())


@pytest.mark.parametrize("price", [None, "cheap", -1, float("nan"), [2]])
def test_a_study_without_a_price_has_no_cost(tmp_path, price):
    with_study(fabricate(tmp_path, PLAN), price=price)
    assert "The study cost" not in built(tmp_path)
    assert "cost" not in pd.read_csv(tmp_path / "tables" / "trials.csv")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "python -m study.run 'my study.py' --seeds 3 --out runs/x --hours=2 --resume",
            "run python -m study.run 'my study.py' --out runs/x --resume --seeds 5",
        ),
        ("another-program --go", "run it again with --resume --seeds 5"),
        ("python -m study.run 'torn", "run it again with --resume --seeds 5"),
        (None, "run it again with --resume --seeds 5"),
    ],
)
def test_a_study_with_too_few_seeds_prints_the_command_for_claims(tmp_path, command, said):
    with_study(fabricate(tmp_path, PLAN), command=command)
    study = results.read(tmp_path)
    few = next(point for point in caveats_section(study, settings(study)).points if "nothing is claimed" in point)
    assert few == f"All settings have only 3 seeds; nothing is claimed below 5. For claims, {said}"
