"""Ensembles of the confirmed models, compared with the best single model on test.

Members are averaged in log-probability. Averaging logits is equivalent: they differ from log-probabilities by one
number per image, which the softmax removes. Both give the normalized geometric mean of the probabilities.

Greedy selection needs images that no candidate trained on. Every repeat (seed) has its own partition into training and
validation, so most other repeats trained on an image that one repeat validates on. Within one repeat, all settings
share validation images that none of them trains on. Greedy selection therefore runs within each repeat, on these
images; its result is the mean over repeats, with an interval for new repeats and new images. Epochs and settings were
selected on the same images, so validation accuracy is optimistic. Averages of all models or all seeds select nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.confirmed.answers import LIKELY
from analysis.confirmed.outputs import VAL, Output, Outputs
from analysis.confirmed.settings import TEST, Setting, best_trial, groups, winner_first
from analysis.layout.page import Section, Table, table
from analysis.layout.text import NOTHING, number, percent, percent_interval, points
from analysis.statistics.inference import accuracy_interval, bootstrap_interval
from study.results import Results, metrics
from study.writing import count

STEPS = 20
SINGLE = "the best single model"
ANY_SEED = "one model of the winner, any seed"
SEEDS = "all seeds of the winner"
ALL = "all confirmed models"
EACH = "one model of each setting"
GREEDY = "chosen greedily on validation"
COLUMNS = ("ensemble", "repeats", "models", "accuracy", "low", "high", "difference", "difference_low")
COLUMNS += ("difference_high", "log_loss", "val_accuracy", "members")
Weights = Mapping[str, int]  # trial -> its number of copies in the ensemble


@dataclass(frozen=True)
class _Candidates:
    """Models by setting and repeat, all tested on the same images; the winner's setting first."""

    trials: dict[str, dict[int, str]]  # arm -> seed -> trial
    outputs: Outputs
    test: Output  # of the best single model

    @property
    def repeats(self) -> list[int]:
        """Return the repeats that have a model of every setting."""
        return sorted(reduce(lambda a, b: a & b, (set(seeds) for seeds in self.trials.values())))

    def of_repeat(self, repeat: int) -> list[str]:
        return [seeds[repeat] for seeds in self.trials.values()]


def ensembles(results: Results, confirmed: list[Setting], outputs: Outputs) -> pd.DataFrame:
    """Return one row for each kind of ensemble, the best single model first; empty if there is nothing to average.

    `low, high`: see `accuracy_interval`. `difference`: accuracy minus the accuracy of the best single model, which is
    the winner's best seed on validation; its interval is a paired bootstrap over test images, for these models on new
    images. `models`: how many models an ensemble runs, mean over repeats. `val_accuracy` exists only within a repeat.
    """
    candidates = _candidates(confirmed, outputs)
    if candidates is None:
        return pd.DataFrame(columns=list(COLUMNS))
    single = best_trial(winner_first(confirmed)[0])
    kinds = {SINGLE: [{single: 1}]} | _kinds(candidates)
    clusters = groups(results, pd.Index(candidates.test.items))
    rows = [_row(candidates, kind, made, clusters) for kind, made in kinds.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS)) if len(rows) > 1 else pd.DataFrame(columns=list(COLUMNS))


def _candidates(confirmed: list[Setting], outputs: Outputs) -> _Candidates | None:
    """Return the models that can be averaged; None if the winner is not among them."""
    ordered = [setting for setting in winner_first(confirmed) if setting.tested]
    if not ordered or ordered[0] is not winner_first(confirmed)[0]:
        return None
    test = outputs.of(best_trial(ordered[0]), TEST)
    if test is None:
        return None
    trials = {
        setting.arm: dict(zip(setting.seeds, setting.trials["trial"], strict=True))
        for setting in ordered
        if all(_alike(outputs.of(trial, TEST), test) for trial in setting.trials["trial"])
    }
    return _Candidates(trials, outputs, test) if ordered[0].arm in trials else None


def _alike(a: Output | None, b: Output) -> bool:
    """Whether two models were tested on the same images and have the same classes."""
    if a is None or a.log_probabilities.shape != b.log_probabilities.shape:
        return False
    return np.array_equal(a.items, b.items)


def _kinds(candidates: _Candidates) -> dict[str, list[Weights]]:
    """Return the ensembles of each kind: one across repeats, or one for each repeat."""
    winners, *others = candidates.trials.values()
    kinds: dict[str, list[Weights]] = {}
    if len(winners) > 1:
        kinds[ANY_SEED] = [{trial: 1} for trial in winners.values()]
        kinds[SEEDS] = [dict.fromkeys(winners.values(), 1)]
    if others:
        kinds[ALL] = [{trial: 1 for seeds in candidates.trials.values() for trial in seeds.values()}]
        kinds[EACH] = [dict.fromkeys(candidates.of_repeat(repeat), 1) for repeat in candidates.repeats]
        kinds[GREEDY] = []
        for trials in map(candidates.of_repeat, candidates.repeats):
            shared = _shared_validation(candidates.outputs, trials)
            if shared is not None:
                kinds[GREEDY].append(Counter(trials[pick] for pick in greedy(*shared)))
    return {kind: made for kind, made in kinds.items() if made}


def _shared_validation(outputs: Outputs, trials: list[str]) -> tuple[NDArray, NDArray] | None:
    """Return labels (n,) and log-probabilities (models, n, K) of the images that all of these models validate on.

    None of the models trained on them, because the validation rows of a trial are its own validation images.
    """
    validated = [output for trial in trials if (output := outputs.of(trial, VAL)) is not None]
    items = reduce(np.intersect1d, [output.items for output in validated]) if validated else []
    if len(validated) < len(trials) or not len(items):
        return None
    rows = [np.searchsorted(output.items, items) for output in validated]
    stacked = np.stack([output.log_probabilities[index] for output, index in zip(validated, rows, strict=True)])
    return validated[0].labels[rows[0]], stacked


def greedy(labels: NDArray, log_probabilities: NDArray, steps: int = STEPS) -> list[int]:
    """Return the indices of the ensemble's members, in the order of selection; a model may be selected repeatedly.

    Caruana et al. ("Ensemble Selection from Libraries of Models", ICML 2004): each step adds, with replacement, the
    model that gives the average the highest validation accuracy, then the lowest cross-entropy. The ensemble of the
    best step is returned. `log_probabilities` are (models, n, K).
    """
    total = np.zeros(log_probabilities.shape[1:])
    picks: list[int] = []
    scores: list[tuple[float, float]] = []
    for step in range(1, steps + 1):
        tried = [_score(labels, (total + added) / step) for added in log_probabilities]
        pick = max(range(len(tried)), key=tried.__getitem__)
        total += log_probabilities[pick]
        picks.append(pick)
        scores.append(tried[pick])
    return picks[: 1 + max(range(steps), key=scores.__getitem__)]


def _score(labels: NDArray, mean: NDArray) -> tuple[float, float]:
    return float((mean.argmax(axis=1) == labels).mean()), -metrics.log_loss(labels, metrics.log_softmax(mean))


def _row(candidates: _Candidates, kind: str, made: Sequence[Weights], clusters: NDArray) -> dict[str, object]:
    single = candidates.test
    tested = [_on_test(candidates, weights) for weights in made]
    right = np.stack([correct for _, correct in tested])
    low, high = accuracy_interval(right, clusters)
    gains = right.mean(axis=0) - single.right
    gain_low, gain_high = (np.nan, np.nan) if kind == SINGLE else bootstrap_interval(gains, clusters)
    return {
        "ensemble": kind,
        "repeats": len(made),
        "models": float(np.mean([len(weights) for weights in made])),
        "accuracy": float(right.mean()),
        "low": low,
        "high": high,
        "difference": np.nan if kind == SINGLE else float(gains.mean()),
        "difference_low": gain_low,
        "difference_high": gain_high,
        "log_loss": float(np.mean([metrics.log_loss(single.labels, mean) for mean, _ in tested])),
        "val_accuracy": _validation_accuracy(candidates, kind, made),
        "members": "; ".join(map(_members, made)),
    }


def _on_test(candidates: _Candidates, weights: Weights) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the log-probabilities of an ensemble (n, K), and which images it classifies correctly (n,).

    Models are added one at a time, because all at once need much memory. For a single model the stored prediction
    counts, because its logits are rounded.
    """
    total, alone = 0.0, candidates.test.right
    for trial, times in weights.items():
        output = candidates.outputs.of(trial, TEST)
        assert output is not None
        total, alone = total + times * output.log_probabilities, output.right
    mean = metrics.log_softmax(total / sum(weights.values()))
    return mean, alone if len(weights) == 1 else mean.argmax(axis=1) == candidates.test.labels


def _members(weights: Weights) -> str:
    return ", ".join(f"{trial} ×{times}" if times > 1 else trial for trial, times in weights.items())


def _validation_accuracy(candidates: _Candidates, kind: str, made: Sequence[Weights]) -> float:
    """Return the accuracy on the members' shared validation images; NaN if they are from several repeats."""
    if kind not in (SINGLE, ANY_SEED, EACH, GREEDY):
        return np.nan
    accuracies = []
    for weights in made:
        shared = _shared_validation(candidates.outputs, list(weights))
        if shared is None:
            return np.nan
        labels, log_probabilities = shared
        mean = np.average(log_probabilities, axis=0, weights=list(weights.values()))
        accuracies.append(float((mean.argmax(axis=1) == labels).mean()))
    return float(np.mean(accuracies))


def ensembles_section(results: Results, confirmed: list[Setting], outputs: Outputs, overlap: str) -> Section | None:
    frame = ensembles(results, confirmed, outputs)
    if frame.empty:
        return None
    explained = (
        "Ensembles average log-probabilities, which is equivalent to averaging logits. Greedy selection adds the "
        "most helpful model twenty times (Caruana et al. 2004), within each seed and on validation images that none "
        "of its models trained on; numbers are means over seeds. Nothing was selected on test."
    )
    return Section("Ensembles", [ensemble_sentence(frame), explained], tables=[_table(frame, overlap)])


def ensemble_sentence(frame: pd.DataFrame) -> str:
    """Return the gain of the greedy ensemble as a sentence; of all models if there is no greedy one."""
    kinds = set(frame["ensemble"])
    kind = next(kind for kind in (GREEDY, ALL, SEEDS) if kind in kinds)
    row = frame[frame["ensemble"] == kind].iloc[0]
    gain, low, high = (float(row[column]) for column in ("difference", "difference_low", "difference_high"))
    direction = "above"
    if gain < 0:
        direction, gain, low, high = "below", -gain, -high, -low
    worth = "" if direction == "above" and low > 0 else " There is no evidence of a gain."
    models = round(row["models"], 1)
    average = f"models {kind}" if kind == GREEDY else kind
    return (
        f"Averaging {average} reaches a test accuracy of {percent(row['accuracy'])}, {points(gain)} points {direction} "
        f"{SINGLE} ({LIKELY} {points(low)} to {points(high)}, for these models on new images), and runs "
        f"{count(int(models) if models.is_integer() else models, 'model')} instead of one.{worth}"
    )


def _table(frame: pd.DataFrame, overlap: str) -> Table:
    shown = {
        "average of": "ensemble",
        "models": lambda row: number(round(row.models, 1)),
        "ensembles": "repeats",
        "validation": "val_accuracy",
        f"test ({LIKELY})": lambda row: percent_interval(row.accuracy, row.low, row.high),
        f"difference ({LIKELY})": lambda row: (
            f"{points(row.difference)} ({points(row.difference_low)} to {points(row.difference_high)})"
            if pd.notna(row.difference)
            else NOTHING
        ),
        "log-loss": "log_loss",
    }
    caption = (
        "Ensembles on test. The best single model is the winner's best seed on validation. Rows with several "
        "ensembles, one per seed, show means. Validation accuracy is shown where the members share their validation "
        "images; it is optimistic, because it selected them. Difference: to the best single model, in points, by a "
        f"paired bootstrap over images.{overlap}"
    )
    return table("ensembles", caption, frame, shown)
