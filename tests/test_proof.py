"""After a study: best/ is the model that was tested, or it is gone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from study.persistence import ledger
from study.persistence.trial_files import model_file, predictions_file
from study.products.export import export_best
from study.products.local_dir import NotTheSame
from study.products.proof import prove_best
from study.schedule.state import Job
from study.writing import write_json, write_table
from tests.finished import TRIAL, Finished, finish
from tests.images import config
from trainables.data.trial_data import open_trial_data
from trainables.learning.checkpoints import load_tensors, save_tensors
from trainables.nets.divided import whole_net
from trainables.nets.models import Net, load_trained
from trainables.place import Place
from trainables.trial import Diverged, predict, run_trial


@pytest.fixture
def study(tmp_path: Path) -> Finished:
    return finish(tmp_path)


def best_files(study: Finished) -> list[str]:
    return sorted(file.name for file in (study.out / "best").glob("*"))


def export(study: Finished) -> None:
    export_best(study.course, study.record, study.place, study.manifest)


def winner(study: Finished) -> Net:
    net = whole_net(study.config, study.place, 3)
    load_trained(net, load_tensors(model_file(study.out, TRIAL)))
    return net


def test_a_stranger_sees_on_what_the_model_was_proved(study: Finished) -> None:
    proof = json.loads((study.out / "best" / "proof.json").read_text())
    assert (proof["images"], proof["of"], proof["labels_otherwise"]) == (9, 9, 0)
    assert proof["compared_with"] == "predictions.parquet"
    assert 0 < proof["largest_difference"] <= proof["allowed"] < 0.05
    card = (study.out / "best" / "README.md").read_text()
    assert "reproduces the logits of predictions.parquet on 9 of 9 test images" in card
    assert "__pycache__" not in best_files(study)


def test_a_model_that_is_another_is_gone_and_so_is_an_earlier_one(study: Finished) -> None:
    file = predictions_file(study.out, TRIAL)
    seen = pd.read_parquet(file)
    rows = seen["logits"].to_list()
    first = int(np.flatnonzero(seen["fold"] == "test")[0])
    rows[first] = rows[first] + np.float16(0.05)
    write_table(seen.assign(logits=rows), file)
    with pytest.raises(NotTheSame, match=r"a logit of a test image differs by 0\.05, but rounding allows only 0\.00"):
        export(study)
    assert not (study.out / "best").exists()
    write_table(seen, file)
    export(study)
    assert "model.safetensors" in best_files(study)


def test_weights_of_another_trial_are_seen(study: Finished) -> None:
    trained = load_tensors(model_file(study.out, TRIAL))
    save_tensors(trained | {"head.weight": 1.1 * trained["head.weight"]}, model_file(study.out, TRIAL))
    with pytest.raises(NotTheSame, match="a logit of a test image differs"):
        export(study)


def test_a_file_that_was_changed_since_is_seen(study: Finished) -> None:
    numbers = json.loads((study.out / "best" / "preprocessing.json").read_text())
    write_json(numbers | {"crop_pct": 0.5}, study.out / "best" / "preprocessing.json")
    with pytest.raises(NotTheSame):
        prove_best(
            study.out, study.config, study.place, winner(study), predictions_file(study.out, TRIAL), study.manifest
        )


def test_where_votes_were_tested_the_net_itself_is_compared(study: Finished) -> None:
    chosen, file = replace(study.config, neighbours=3), predictions_file(study.out, TRIAL)
    net = winner(study)
    proof = prove_best(study.out, chosen, study.place, net, file, study.manifest)
    assert proof.compared_with == "the net in the study's process"
    assert proof.largest_difference < 1e-4
    net.head.bias.data += torch.tensor([0.0, 0.0, 0.01])
    with pytest.raises(NotTheSame, match=r"differs by 0\.01"):
        prove_best(study.out, chosen, study.place, net, file, study.manifest)


@pytest.mark.parametrize("depth", ["head", "last stage", "all"])
def test_what_is_evaluated_is_float32_whatever_trains(depth: str, fresh_place: Place) -> None:
    net = {"backbone": "test_efficientnet", "size": 32, "unfreeze": depth, "augmentation": "light"}
    half = config(**net, precision="bfloat16", frozen_precision="bfloat16")
    [*_, (row, state)] = run_trial(half, fresh_place)
    items = open_trial_data(half, fresh_place).val
    whole = predict(replace(half, precision="float32", frozen_precision="float32"), fresh_place, state.net, items)
    np.testing.assert_array_equal(predict(half, fresh_place, state.net, items), whole)
    labels = open_trial_data(half, fresh_place).labels[items]
    assert row["val_accuracy"] == (whole.argmax(axis=1) == labels).mean()


def test_logits_that_cannot_be_stored_are_a_divergence(fresh_place: Place) -> None:
    with pytest.raises(Diverged, match=r"A logit of .* after epoch 1 .* is beyond the 65,504 that can be stored"):
        list(run_trial(config(learning_rate=1e5, unfreeze="head", optimizer="sgd"), fresh_place))
    [*_, (_, state)] = run_trial(config(epochs=1), fresh_place)
    huge = state.net | {"head.bias": torch.tensor([7e4, 0.0, 0.0])}
    with pytest.raises(Diverged, match="on images that were not trained on"):
        predict(config(epochs=1), fresh_place, huge, open_trial_data(config(), fresh_place).test)


def test_json_holds_null_for_what_is_no_number(tmp_path: Path) -> None:
    write_json({"a": float("nan"), "b": [1.0, float("-inf")], "c": "NaN"}, tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [1.0, None], "c": "NaN"}


def test_a_model_whose_test_logits_cannot_be_kept_is_failed(study: Finished) -> None:
    ledger.write_end(study.out, TRIAL, "failed", "Diverged: a logit")
    study.course.ended(Job("test", TRIAL))
    record = study.course.records[TRIAL]
    assert (record.status, record.error) == ("failed", "Diverged: a logit")
    assert record not in study.course.shown()
