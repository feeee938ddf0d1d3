"""How good the advice of whole studies is: the real course of a study, replayed many times on a table of trainings.

    python -m tests.benchmarks.truth digits.parquet --replays 1000

The table comes from tests/benchmarks/truth_table.py.

Each replay is a study with its own seed. It plans, searches with ASHA, refines, confirms and answers with the product's
own code; only the trainings are looked up: each at the nearest point of the table's grid, with a seed of the table for
each seed of the study. Its test fold is a random half of the table's test images, and its ranges are either wide or
narrow. What is true of a setting is its mean accuracy on all images, each held out from the training, with the seeds of
the table that the study did not use.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import track

from analysis.confirmed.answers import BETTER_A, BETTER_B, EQUIVALENT, REFUSED, TOO_FEW, answers
from analysis.confirmed.settings import Setting, settings, standing_for
from search_spaces.distributions import holds
from study.design.plan import search_plan
from study.persistence import ledger
from study.persistence.ledger import Record
from study.results import EPOCHS_COLUMNS, Results
from study.schedule.state import Step, StudyState
from study.setup.study_json import budget_record, definition
from study.spec import Study
from tests.benchmarks.replay_model import Share, share
from tests.benchmarks.truth_table import GRID, STUDY
from tests.courses import BASE

STEPS: tuple[Step, ...] = ("search", "refine", "confirm", "done")  # up to the test fold, whose images are drawn here
COST = {"tf_efficientnet_lite0": 1.0, "tf_efficientnet_lite1": 1.5, "tf_efficientnet_lite2": 2.1}  # of an epoch
DECISIONS = ("widen", "flat", "behind", "at end", "move", "combine", "seeds")
TEST_SHARE = 0.2  # of the images; validation partitions cover the rest
OUTCOMES = ("decided", "more seeds", "more images", "refused")  # of a pair of levels
DECIDED = (BETTER_A, BETTER_B, EQUIVALENT)


@dataclass(frozen=True)
class Training:
    validation: list[float]  # accuracy after each epoch
    right: NDArray[np.bool_]  # by test image; empty where the training diverged

    @property
    def accuracy(self) -> float:
        """On validation and test images, as many of each as all seeds together have; 0 where the training diverged."""
        if not self.right.size:
            return 0.0
        return (1 - TEST_SHARE) * max(self.validation) + TEST_SHARE * float(self.right.mean())


Cell = tuple[str, tuple[float, ...]]  # factors and nuisances


@dataclass(frozen=True)
class Table:
    trainings: Mapping[Cell, list[Training]]  # by seed
    seeds: int
    images: int

    @cached_property
    def accuracies(self) -> dict[Cell, NDArray[np.float64]]:
        return {cell: np.array([each.accuracy for each in by_seed]) for cell, by_seed in self.trainings.items()}


@dataclass(frozen=True)
class Truth:
    """What is true of the settings of a table, by seeds that a study did not use."""

    table: Table
    unused: NDArray[np.int64]

    def accuracy(self, factors: Mapping[str, Any], nuisances: Mapping[str, float]) -> float:
        return float(self.table.accuracies[cell_of(factors, nuisances)][self.unused].mean())

    def best(self) -> float:
        """The best accuracy of any cell. Its luck makes it too high, so advice looks worse than it is."""
        return max(float(accuracies[self.unused].mean()) for accuracies in self.table.accuracies.values())


def read_table(path: Path) -> Table:
    rows = pd.read_parquet(path).sort_values("seed")
    images = int(rows["images"].max())
    trainings: dict[Cell, list[Training]] = {}
    for row in rows.to_dict("records"):
        right = np.unpackbits(np.frombuffer(row["right"], np.uint8), count=row["images"]).astype(bool)
        cell = row["factors"], tuple(json.loads(row["nuisances"]).values())
        trainings.setdefault(cell, []).append(Training(list(row["validation"]), right))
    return Table(trainings, int(rows["seed"].max()), images)


def cell_of(factors: Mapping[str, Any], nuisances: Mapping[str, float]) -> Cell:
    """Return the cell of the table that is nearest to a setting."""
    return json.dumps(dict(factors)), tuple(_nearest_value(name, value) for name, value in nuisances.items())


def _nearest_value(name: str, value: float) -> float:
    if STUDY.nuisances[name].log:
        return min(GRID[name], key=lambda point: abs(np.log(point / value)))
    return min(GRID[name], key=lambda point: abs(point - value))


def replay(table: Table, study: Study, number: int, folder: Path | None) -> dict[str, float]:
    """Run one study on the table. Return what it spent, how its pairs ended, and what its advice is worth."""
    random = np.random.default_rng(number)
    seeds, items = random.permutation(table.seeds), random.permutation(table.images)[: table.images // 2]
    with tempfile.TemporaryDirectory(dir=folder) as name:
        state = run(table, study, number, Path(name), seeds)
    results = as_results(table, state, seeds, np.sort(items))
    used = 1 + max(record.planned.seed for record in state.records.values())
    truth = Truth(table, seeds[used:])
    found, answered = settings(results), answers(results)
    assert state.winner is not None
    advised = state.winner.planned
    kinds = Counter(decision["kind"] for decision in state.decisions)
    return {
        "models": len(state.records),
        "epochs": sum(len(record.rows) for record in state.records.values()),
        "search": len(state.of_phase("search")),
        "refine": len(state.of_phase("refine")),
        "confirm": len(state.of_phase("confirm")),
        "below the best": truth.best() - truth.accuracy(advised.factors, advised.nuisances),
        **pair_outcomes(truth, found, answered),
        **{f"decisions: {kind}": kinds[kind] for kind in DECISIONS},
    }


def run(table: Table, study: Study, seed: int, out: Path, seeds: NDArray[np.int64]) -> StudyState:
    """Drive a study to the end of its confirmation, one trial after the other."""
    base = replace(
        BASE,
        study_seed=seed,
        weights_hashes=dict.fromkeys(study.levels("backbone"), ""),
        validation_images=table.images,
        test_images=table.images // 2,
    )
    ledger.write_plan(out, search_plan(study, study.budget.trials, seed))
    state = StudyState(out, study, base, None, lambda event, record: None, STEPS)
    while (job := state.next_job()) is not None:
        record = state.records[job.trial]
        training = _training(table, record, seeds)
        for epoch, accuracy in enumerate(training.validation, 1):
            row = dict.fromkeys(EPOCHS_COLUMNS, 0.0) | {"epoch": epoch, "val_accuracy": accuracy}
            if not state.reported(job.trial, row | {"val_metric": accuracy}):
                break
        else:
            ledger.write_end(out, job.trial, "completed" if training.right.size else "failed")
        state.ended(job)
    return state


def _training(table: Table, record: Record, seeds: NDArray[np.int64]) -> Training:
    planned = record.planned
    return table.trainings[cell_of(planned.factors, planned.nuisances)][int(seeds[planned.seed])]


def as_results(table: Table, state: StudyState, seeds: NDArray[np.int64], items: NDArray[np.int64]) -> Results:
    """Return the study as the report would read it."""
    trials, predictions = [], []
    for record in state.records.values():
        planned = record.planned
        trials.append(
            {"epochs": record.config["epochs"]} | planned.factors | planned.nuisances | _outcome(record, state)
        )
        if planned.phase == "confirm" and record.status == "completed":
            right = _training(table, record, seeds).right[items]
            rows = {"trial": planned.trial, "item": items, "fold": "test", "label": 0, "predicted": 1 - right}
            predictions.append(pd.DataFrame(rows))
    budget = budget_record(state.study.budget)
    study: Any = {"name": "truth", "question": "", "budget": budget, **definition(state.study)}
    study["decisions"] = state.decisions
    manifest = pd.DataFrame({"item": items, "group": items})
    epochs = [{"trial": name} | row for name, record in state.records.items() for row in record.rows.values()]
    return Results(Path(), study, manifest, pd.DataFrame(trials), pd.DataFrame(epochs), pd.concat(predictions))


def _outcome(record: Record, state: StudyState) -> dict[str, Any]:
    planned, best = record.planned, record.best
    standing = state.stands_for.get(planned.trial, ())
    return {
        "trial": planned.trial,
        "phase": planned.phase,
        "arm": planned.arm,
        "stands_for": json.dumps(list(standing)) if planned.phase == "confirm" else None,
        "audit": planned.audit,
        "seed": planned.seed,
        "status": record.status,
        "epochs_run": len(record.rows),
        "seconds": COST[record.config["backbone"]] * len(record.rows),
        "error": None,
        "best_epoch": best["epoch"] if best else None,
        "val_accuracy": best["val_accuracy"] if best else None,
        "val_metric": best["val_metric"] if best else None,
    }


NARROW = {"learning_rate": (1e-3, 1e-2)}  # a range that a user guessed, and whose best values lie at or past its end


def narrowed(study: Study) -> Study:
    ranges = {name: replace(study.nuisances[name], low=low, high=high) for name, (low, high) in NARROW.items()}
    return replace(study, nuisances=dict(study.nuisances) | ranges)


def pair_outcomes(truth: Truth, found: list[Setting], answered: pd.DataFrame) -> dict[str, int]:
    """How many pairs of levels ended in which way; claims are held against what is true of the two settings."""
    outcomes: dict[str, int] = dict.fromkeys((*OUTCOMES, "false"), 0)
    for row in answered.to_dict("records"):
        outcomes[_kind(row)] += 1
        a, b = (standing_for(found, row["factor"], row[level]) for level in ("level_a", "level_b"))
        if row["verdict"] in DECIDED and a and b:
            difference = _accuracy(truth, a) - _accuracy(truth, b)
            against = {BETTER_A: difference <= 0, BETTER_B: difference >= 0, EQUIVALENT: abs(difference) > STUDY.margin}
            outcomes["false"] += against[row["verdict"]]
    return outcomes


def _kind(row: Mapping[Any, Any]) -> str:
    if row["verdict"] in DECIDED:
        return "decided"
    if row["verdict"].startswith(REFUSED):
        return "refused"
    return "more seeds" if row["verdict"] == TOO_FEW or pd.notna(row["seeds_needed"]) else "more images"


def _accuracy(truth: Truth, setting: Setting) -> float:
    values = setting.trials.iloc[0]
    names = [name for name, nuisance in STUDY.nuisances.items() if holds(nuisance.when, setting.levels)]
    return truth.accuracy(setting.levels, {name: float(values[name]) for name in names})


def summary(replays: pd.DataFrame) -> dict[str, Share]:
    """The measured shares and means, each with its simulation error."""
    pairs = replays[list(OUTCOMES)].sum(axis=1)
    return {
        "models trained": share(replays["models"]),
        "epochs trained": share(replays["epochs"]),
        **{f"pairs {name}": share(replays[name] / pairs) for name in OUTCOMES},
        "studies with a false claim": share(replays["false"] > 0),
        "recommended setting is worse than the best by more than the margin": share(
            replays["below the best"] > STUDY.margin
        ),
        "accuracy below the best, in points": share(100 * replays["below the best"]),
        **{f"decisions: {kind}": share(replays[f"decisions: {kind}"]) for kind in DECISIONS},
        **{f"models of {phase}": share(replays[phase]) for phase in ("search", "refine", "confirm")},
    }


def as_markdown(summaries: Mapping[str, Mapping[str, Share]]) -> str:
    """A line for each number, a column for each kind of study."""
    lines = [f"| | {' | '.join(summaries)} |", f"| --- |{' ---: |' * len(summaries)}"]
    for name in next(iter(summaries.values())):
        cells = (f"{mean:.3g} ± {error:.2g}" for mean, error in (of[name] for of in summaries.values()))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.truth", description=__doc__)
    parser.add_argument("table", type=Path, metavar="FILE.parquet")
    parser.add_argument("--replays", type=int, default=1000, metavar="N")
    flags = parser.parse_args(arguments)
    table = read_table(flags.table)
    memory = Path("/dev/shm")  # a ledger is hundreds of small files
    folder = memory if memory.is_dir() else None
    summaries = {}
    for name, study in {"wide ranges": STUDY, "a narrow range": narrowed(STUDY)}.items():
        rows = [replay(table, study, number, folder) for number in track(range(flags.replays), name)]
        summaries[name] = summary(pd.DataFrame(rows))
    print(as_markdown(summaries))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
