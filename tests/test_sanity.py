from pathlib import Path

import numpy as np
import pytest

from analysis.confirmed.settings import Setting, settings
from analysis.findings.sanity_checks import below_probe, gates, sanity_section, worse_than_guessing
from study import results
from tests.fabricated import Plan, fabricate

GATES = [{"name": "first loss", "passed": True, "said": "1.3863 is ln 4"}]
PREFLIGHT = {
    "large": {"probe_accuracy": 0.85, "chance": 0.25, "pictures": 512, "gates": GATES},
    "small": {"probe_accuracy": None, "chance": 0.25, "pictures": 512, "gates": []},
}
FACTORS = {"backbone": ["large", "small"], "unfreeze": ["all", "head", "last stage"]}
WINNER: dict[str, object] = {"backbone": "large", "unfreeze": "all"}
# Head and last stage are as bad as each other; only one of them changes the features.
ACCURACY: dict[tuple[str, object], float] = {
    ("unfreeze", "head"): 0.7,
    ("unfreeze", "last stage"): 0.7,
    ("backbone", "small"): 0.3,
}


def study(tmp_path: Path, preflight: object) -> tuple[results.Results, list[Setting]]:
    plan = Plan(FACTORS, WINNER, accuracy=ACCURACY, spread=0.001, items=80, extra={"preflight": preflight})
    read = results.read(fabricate(tmp_path, plan))
    return read, settings(read)


def test_only_what_was_fine_tuned_is_held_against_its_own_probe(tmp_path: Path) -> None:
    read, found = study(tmp_path, PREFLIGHT)
    [said] = below_probe(read, found)
    assert said.startswith("unfreeze = last stage: fine-tuning reaches a validation accuracy of 70.0%, below the ")
    assert "85.0% of a linear probe on the pretrained features of large" in said


def test_nets_from_random_numbers_have_no_features_to_lose(tmp_path: Path) -> None:
    read, _ = study(tmp_path, PREFLIGHT)
    read.trials["weights"] = "none"
    assert below_probe(read, settings(read)) == []


def test_two_points_below_are_forgiven(tmp_path: Path) -> None:
    read, found = study(tmp_path, {"large": PREFLIGHT["large"] | {"probe_accuracy": 0.719}})
    assert below_probe(read, found) == []


def test_the_gates_as_a_table(tmp_path: Path) -> None:
    table = gates(study(tmp_path, PREFLIGHT)[0])
    assert table["net"].tolist() == ["large", "small"]
    assert table["passed"].tolist() == ["first loss", ""]
    assert np.isnan(table["probe_accuracy"][1])


@pytest.mark.parametrize("strange", ["skipped", None, 3, {"large": "?"}, {"large": {"gates": [None, 1]}}])
def test_what_another_program_wrote_is_no_error(tmp_path: Path, strange: object) -> None:
    read, found = study(tmp_path, strange)
    read.epochs["train_cross_entropy"] = 0.1
    section = sanity_section(read, found)
    assert section is None or not section.points


def test_trials_that_learned_nothing_in_their_first_epoch_are_counted(tmp_path: Path) -> None:
    read, _ = study(tmp_path, PREFLIGHT)
    read.epochs["train_cross_entropy"] = 1.0
    assert worse_than_guessing(read) == []
    first = read.epochs.index[read.epochs["epoch"] == 1]
    read.epochs.loc[first[:2], "train_cross_entropy"] = np.log(4)
    read.epochs.loc[read.epochs["epoch"] == 2, "train_cross_entropy"] = 9.0
    [said] = worse_than_guessing(read)
    assert said.startswith(f"2 trials of {len(first)} had a training cross-entropy of at least ln 4 = 1.39")
