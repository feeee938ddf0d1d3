"""Study folders that follow the contract without any training, with a truth planted in them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from analysis.confirmed.answers import Answer
from study import results, writing

FACTORS: dict[str, list] = {
    "backbone": ["small", "large"],
    "regularizer": ["none", "dropout", "l2"],
    "augmentation": ["none", "light"],
}
WINNER = {"backbone": "large", "regularizer": "l2", "augmentation": "light"}


@dataclass(frozen=True)
class Plan:
    """What to fabricate; `accuracy` maps a (factor, level) of a confirmed setting to its true accuracy."""

    factors: dict[str, list] = field(default_factory=lambda: dict(FACTORS))
    winner: Mapping[str, object] = field(default_factory=lambda: dict(WINNER))
    accuracy: Mapping[tuple[str, Any], float] = field(default_factory=dict)
    base: float = 0.9  # accuracy of the winner and of every level not named in `accuracy`
    spread: float = 0.01  # of the true accuracy from seed to seed
    classes: tuple[str, ...] = ("ant", "bee", "cat", "dog")
    items: int = 200  # test images
    trials: int = 24
    epochs: int = 9
    seeds: int = 5
    sharpness: float = 1.0  # factor on all logits: above 1 the models are surer than they should be
    published: dict[str, tuple[float, int]] = field(default_factory=dict)  # name -> (accuracy, seeds) of what was run
    combined: Mapping[str, object] | None = None  # a recommended setting that stands for no level
    extra: dict[str, object] = field(default_factory=dict)  # further keys of study.json


def fabricate(out: Path, plan: Plan | None = None) -> Path:
    """Write a finished study into `out`; the same plan gives the same numbers."""
    plan = plan or Plan()
    rng = np.random.default_rng(7)
    out.mkdir(parents=True, exist_ok=True)
    manifest = _manifest(plan, rng)
    rows = _search(plan, rng) + _refine(plan, rng) + _confirm(plan, rng) + _published(plan)
    trials = pd.DataFrame(rows)
    writing.write_json(_study(plan), out / results.STUDY_FILE)
    writing.write_table(manifest, out / results.MANIFEST_FILE)
    writing.write_table(_epochs(trials, len(plan.classes), rng), out / results.EPOCHS_FILE)
    writing.write_table(_predictions(plan, manifest, trials, rng), out / results.PREDICTIONS_FILE)
    writing.write_table(trials.drop(columns="truth"), out / results.TRIALS_FILE)
    return out


def rewrite(out: Path, stem: str, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Put the edited table `stem` in the place of what was fabricated."""
    path = out / f"{stem}.parquet"
    writing.write_table(edit(pd.read_parquet(path)), path)


def _study(plan: Plan) -> dict:
    return {
        "name": "fabricated",
        "dataset": "fabricated images",
        "question": "Which backbone, which regularizer, which augmentation?",
        "factors": plan.factors,
        "nuisances": {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True, "when": None}},
        "fixed": {"size": 224, "batch_size": 64},
        "budget": {"trials": plan.trials, "epochs": plan.epochs, "seeds": plan.seeds},
        "metric": "val_accuracy",
        "seed": 0,
        "command": "python -m study.run fabricated",
        "versions": {"python": "3.11", "torch": "2.15"},
        "revision": "0000000",
        "hardware": {"cpus": 2, "gpus": 0},
        "manifest": "00",
        "test_openings": 1,
        "wall_seconds": 3700.0,
        "compute_seconds": 7100.0,
        "goal": "factors",
        "margin": 0.01,
        "deviations": [],
        **({} if plan.combined is None else {"decisions": [recommend(plan.combined)]}),
    } | plan.extra


def recommend(levels: Mapping[str, object]) -> dict[str, object]:
    """The decision that names a setting, as study.json has it."""
    return {"kind": "recommend", "levels": dict(levels), "arm": json.dumps(dict(levels))}


def _manifest(plan: Plan, rng: np.random.Generator) -> pd.DataFrame:
    """`items` test images, half as many for validation, twice as many in the pool, three dropped."""
    n = plan.items
    fold = ["test"] * n + ["val"] * (n // 2) + ["pool"] * (2 * n) + [None] * 3
    label = np.arange(len(fold)) % len(plan.classes)
    group = np.arange(len(fold))
    group[-4] = group[-5]  # one pair of duplicates, in the pool
    return pd.DataFrame(
        {
            "item": np.arange(len(fold)),
            "path": [f"{plan.classes[k]}/{i}.jpg" for i, k in enumerate(label)],
            "label": label,
            "label_name": [plan.classes[k] for k in label],
            "bytes": rng.integers(10_000, 90_000, len(fold)),
            "sha256": [f"{i:064x}" for i in range(len(fold))],
            "width": 320,
            "height": 240,
            "mode": "RGB",
            "official_split": None,
            "keep": [one is not None for one in fold],
            "drop_reason": [None] * (len(fold) - 3) + ["truncated file", "truncated file", "not an image"],
            "group": group,
            "fold": fold,
        }
    )


def _row(plan: Plan, phase: str, number: int, levels: Mapping[str, object], truth: float, **more: object) -> dict:
    return (
        {
            "trial": f"{phase}-{number:03d}",
            "phase": phase,
            "arm": json.dumps(levels) + (str(number) if phase == "search" else ""),
            "stands_for": None,
            "audit": False,
            "seed": 0,
            "status": "completed",
            "epochs_run": plan.epochs,
            "seconds": 12.0 + number % 5,
            "error": None,
        }
        | dict(levels)
        | {
            "learning_rate": _rate(phase, number),
            "size": 224,
            "best_epoch": plan.epochs - 1,
            "val_accuracy": truth,
            "truth": truth,
        }
        | more
    )


def _rate(phase: str, number: int) -> float:
    """Tuned for every level: spread over the range in the search, then two points, of which the lower is confirmed."""
    return {"search": 10 ** (-4 + 3 * (0.618 * number % 1)), "refine": (1e-3, 1e-2)[number % 2]}.get(phase, 1e-3)


def _truth(plan: Plan, levels: dict) -> float:
    named = [plan.accuracy[pair] for pair in levels.items() if pair in plan.accuracy]
    return min(named, default=plan.base)


def _search(plan: Plan, rng: np.random.Generator) -> list[dict]:
    rows = []
    for number in range(plan.trials):
        levels = {factor: choices[number % len(choices)] for factor, choices in plan.factors.items()}
        truth = float(np.clip(_truth(plan, levels) - rng.uniform(0, 0.15), 0.02, 0.98))
        audit, fate = number % 4 == 0, {}
        if number == 5:
            fate = {"status": "failed", "epochs_run": 0, "error": "ValueError: loss is not finite\nat step 3"}
            fate |= {"val_accuracy": np.nan, "best_epoch": np.nan}
        elif number % 3 == 1 and not audit:
            ran = max(plan.epochs // 3, 1)
            fate = {"status": "stopped", "epochs_run": ran, "best_epoch": ran, "seconds": 4.0}
        rows.append(_row(plan, "search", number, levels, truth, audit=audit, **fate))
    return rows


def _settings(plan: Plan) -> dict[str, tuple[dict, list[str]]]:
    """The winner's setting with one level changed, and which levels each stands for."""
    chosen: dict[str, tuple[dict, list[str]]] = {}
    for factor, choices in plan.factors.items():
        for level in choices:
            levels = {**plan.winner, factor: level}
            chosen.setdefault(json.dumps(levels), (levels, []))[1].append(f"{factor}={level}")
    return chosen


def _refine(plan: Plan, rng: np.random.Generator) -> list[dict]:
    each = [levels for levels, _ in _settings(plan).values() for _ in range(2)]
    return [
        _row(plan, "refine", n, levels, _truth(plan, levels) - rng.uniform(0, 0.02)) for n, levels in enumerate(each)
    ]


def _confirm(plan: Plan, rng: np.random.Generator) -> list[dict]:
    rows = []
    combined = [] if plan.combined is None else [(dict(plan.combined), [])]
    for levels, names in [*_settings(plan).values(), *combined]:
        for seed in range(1, plan.seeds + 1):
            truth = float(np.clip(_truth(plan, levels) + plan.spread * rng.standard_normal(), 0.0, 1.0))
            rows.append(_row(plan, "confirm", len(rows), levels, truth, seed=seed, stands_for=json.dumps(names)))
    return rows


def _published(plan: Plan) -> list[dict]:
    return [
        _row(plan, "published", n, plan.winner, truth, trial=f"published-{n}-{seed}", seed=seed, published=name)
        for n, (name, (truth, seeds)) in enumerate(plan.published.items())
        for seed in range(1, seeds + 1)
    ]


def _epochs(trials: pd.DataFrame, classes: int, rng: np.random.Generator) -> pd.DataFrame:
    """Curves that saturate, the last epoch a little past the best one, training ahead of validation."""
    rows = []
    columns = ("trial", "truth", "best_epoch", "epochs_run", "seconds")
    for name, truth, best_epoch, epochs_run, seconds in zip(*(trials[each].tolist() for each in columns), strict=True):
        for epoch in range(1, int(epochs_run) + 1):
            late = max(0, epoch - (best_epoch if best_epoch > 1 else epoch))
            val = truth * (1 - 0.6 * 0.55**epoch) - 0.01 * late
            train = min(val + 0.01 * epoch, 1.0)
            rows.append(
                {
                    "trial": name,
                    "epoch": epoch,
                    "train_accuracy": train,
                    "train_cross_entropy": np.log(classes) * (1 - train) + 0.02,
                    "penalty": 0.01,
                    "val_accuracy": val + 0.004 * rng.standard_normal(),
                    "val_cross_entropy": np.log(classes) * (1 - val) + 0.05 + 0.03 * late,
                    "learning_rate": 1e-3,
                    "seconds": seconds / max(epochs_run, 1),
                    "images_per_second": 400.0,
                }
            )
    return pd.DataFrame(rows, columns=list(results.EPOCHS_COLUMNS))


def _predictions(plan: Plan, manifest: pd.DataFrame, trials: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Some images are hard for every model: mostly a shared number decides, sometimes the seed's own."""
    shown = manifest[manifest["fold"].isin(["test", "val"])]
    labels, k = shown["label"].to_numpy(), len(plan.classes)
    hard = rng.uniform(size=len(shown))
    frames = []
    for trial in trials[trials["phase"].isin(["confirm", "published"])].itertuples():
        own = rng.uniform(size=len(shown))
        right = np.where(rng.uniform(size=len(shown)) < 0.7, hard, own) < trial.truth
        wrong = (labels + 1 + (rng.uniform(size=len(shown)) < 0.3)) % k if k > 2 else 1 - labels
        predicted = np.where(right, labels, wrong)
        logits = plan.sharpness * np.log(_probabilities(labels, predicted, hard, k))
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        frames.append(
            pd.DataFrame(
                {
                    "trial": trial.trial,
                    "item": shown["item"].to_numpy(),
                    "fold": shown["fold"].to_numpy(),
                    "label": labels,
                    "predicted": predicted,
                    "confidence": np.exp(log_p.max(axis=1)),
                    "cross_entropy": -log_p[np.arange(len(labels)), labels],
                    "logits": list(logits.astype(np.float16)),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _probabilities(labels: np.ndarray, predicted: np.ndarray, hard: np.ndarray, classes: int) -> np.ndarray:
    """Of the right class 0.95 to 0.55 where it is predicted, harder images less; else 0.3 beside 0.5."""
    each = np.arange(len(labels))
    right = labels == predicted
    top = np.where(right, 0.95 - 0.4 * hard, 0.5 if classes > 2 else 0.6)
    second = np.where(right, 0.0, 0.3 if classes > 2 else 0.4)
    others = np.where(right, classes - 1, classes - 2)
    p = np.repeat(((1 - top - second) / np.maximum(others, 1))[:, None], classes, axis=1)
    p[each, labels] = np.where(right, top, second)
    p[each, predicted] = top
    return p


def with_study(out: Path, **changes: object) -> Path:
    """Change entries of the study.json in `out`."""
    study = json.loads((out / results.STUDY_FILE).read_text())
    writing.write_json(study | changes, out / results.STUDY_FILE)
    return out


def pair(a: str, b: str, verdict: str, difference: float = 0.0, seeds_needed: int | None = None) -> Answer:
    """An answer of the report, written by hand."""
    row: dict[str, Any] = dict.fromkeys(results.ANSWERS_COLUMNS)
    row |= {
        "factor": "f",
        "level_a": a,
        "level_b": b,
        "verdict": verdict,
        "companions": "",
        "seeds_needed": seeds_needed,
    }
    if not verdict.startswith("refused"):
        row |= {"difference": difference, "low": difference - 0.01, "high": difference + 0.02, "seeds": 5, "items": 30}
        row |= {"p_holm": 0.5, "probability_a_better": 0.6}
    return cast(Answer, row)
