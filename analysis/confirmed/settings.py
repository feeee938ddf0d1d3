"""The settings that were confirmed: which levels each stands for, how each seed did, and which one won.

Where a study has test folds, a seed is a round of models, one for each fold, and a setting is a level across its folds:
each fold has nuisances of its own. Trials are numbered through in `seed`, those of a round one after the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.confirmed.objective import merit
from analysis.declared import budget
from study.results import PREDICTIONS_FILE, Results, ResultsError, level_text, stands_for

TEST = "test"


@dataclass(frozen=True)
class Setting:
    """One confirmed setting, the same configuration run with several seeds."""

    arm: str
    levels: dict[str, str]  # its level of every factor
    stands_for: frozenset[tuple[str, str]]  # the (factor, level) pairs it was chosen for
    trials: pd.DataFrame  # its completed trials, by seed; with test folds those of whole rounds
    correct: pd.DataFrame  # one row a seed, one column a test item: 1, 0, or missing where not predicted
    merit: pd.Series  # rows as `trials`: the study's metric on validation, more is better
    folds: NDArray[np.float64] | None = None  # as `correct`: the test fold of each cell, where the study has any
    models: int = 1  # of a seed

    @property
    def rounds(self) -> list[list[str]]:
        """The trials of each seed: one, or one for each test fold."""
        trials = self.trials["trial"].tolist()
        return [trials[i : i + self.models] for i in range(0, len(trials), self.models)]

    @property
    def seeds(self) -> list[int]:
        return (1 + (self.trials["seed"].astype(int) - 1) // self.models)[:: self.models].tolist()

    def by_seed(self, values: pd.Series) -> NDArray[np.float64]:
        """The mean over the models of each seed of `values`, rows as `trials`."""
        return values.to_numpy(float).reshape(-1, self.models).mean(axis=1)

    @property
    def tested(self) -> bool:
        """Whether every seed predicted every test item that any of them predicted."""
        return self.correct.shape[1] > 0 and not self.correct.isna().to_numpy().any()


NO_LEVELS = "[]"  # a `stands_for` cell that was written, and names none


def settings(results: Results, phase: str = "confirm") -> list[Setting]:
    """The confirmed settings, or those of another phase, in the order in which they first appear.

    Without those that were confirmed around an earlier winner, and stand for no level any more while others do.
    """
    found = _settings(results, phase)
    standing = [one for one in found if one.stands_for]
    return [one for one in found if one.stands_for or not standing or set(one.trials["stands_for"]) != {NO_LEVELS}]


def _settings(results: Results, phase: str) -> list[Setting]:
    trials, models = results.trials, test_folds(results) if phase == "confirm" else None
    done = trials[(trials["phase"] == phase) & (trials["status"] == "completed")]
    right = test_predictions(results)
    if models is None or not results.factors:
        return [_setting(results, rows, right) for _, rows in done.groupby("arm", sort=False)]
    levels = [done[factor].map(level_text) for factor in results.factors]
    settings = []
    for _, rows in done.groupby(levels, sort=False):
        # without the rounds some of whose models are missing: they do not predict every image
        rounds = rows.groupby((rows["seed"] - 1) // models)["seed"]
        whole = rows[(rounds.transform("nunique") == models) & (rounds.transform("size") == models)]
        if len(whole):
            settings.append(_setting(results, whole, right, models))
    return settings


def test_predictions(results: Results) -> pd.DataFrame:
    """The predictions of test images; `right` is 1 where they are correct, else 0."""
    test = results.predictions[results.predictions["fold"] == TEST]
    return test.assign(right=(test["label"] == test["predicted"]).astype(float))


def test_folds(results: Results) -> int | None:
    """How many models a seed has, each tested on its share of all images; None where there is one test fold."""
    folds = budget(results, "test_folds") or 0
    return folds if folds > 1 else None


def _setting(results: Results, rows: pd.DataFrame, right: pd.DataFrame, models: int = 1) -> Setting:
    rows = rows.sort_values("seed")
    ranked = merit(results)[rows.index].reset_index(drop=True)
    rows = rows.reset_index(drop=True)
    correct, folds = _correct(rows, right, models)
    return Setting(
        arm=rows["arm"].iloc[0],
        levels={factor: level_text(rows[factor].iloc[0]) for factor in results.factors},
        stands_for=frozenset(pair for cell in rows["stands_for"] for pair in stands_for(cell)),
        trials=rows,
        correct=correct,
        merit=ranked,
        folds=folds,
        models=models,
    )


def _correct(rows: pd.DataFrame, right: pd.DataFrame, models: int) -> tuple[pd.DataFrame, NDArray[np.float64] | None]:
    """`correct` and `folds` of a setting."""
    mine = right[right["trial"].isin(rows["trial"])]
    if models == 1:
        return mine.pivot(index="trial", columns="item", values="right").reindex(rows["trial"]), None
    repeat = mine["trial"].map(rows.set_index("trial")["seed"]).astype(int) - 1
    mine = mine.assign(round=repeat // models, fold=repeat % models)
    twice = mine[mine.duplicated(["round", "item"])]
    if len(twice):
        item, number = twice.iloc[0][["item", "round"]]
        raise ResultsError(
            f"{PREDICTIONS_FILE}: two models of round {number + 1} of one setting test item {item}; with test folds "
            "each item tests once a round. Mend `seed` in the trials, or `test_folds` in study.json."
        )
    rounds = pd.Index((rows["seed"].astype(int) - 1) // models).unique()
    wide = {name: mine.pivot(index="round", columns="item", values=name).reindex(rounds) for name in ("right", "fold")}
    return wide["right"], wide["fold"].to_numpy(float)


def standing_for(found: list[Setting], factor: str, level: str) -> Setting | None:
    """The first setting that was chosen for a level of a factor."""
    return next((setting for setting in found if (factor, level) in setting.stands_for), None)


def having(levels: Mapping[str, str], trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that have these levels of the factors."""
    for factor, level in levels.items():
        trials = trials[trials[factor].map(level_text) == level]
    return trials


def winner(found: list[Setting]) -> Setting | None:
    """The setting that is best on validation, mean over seeds, by the study's metric; the test fold has no say."""
    return max(found, key=lambda setting: setting.merit.mean(), default=None)


def best_trial(setting: Setting) -> str:
    """The seed that is best on validation; of equals the first."""
    return setting.trials["trial"].iloc[int(setting.merit.to_numpy().argmax())]


def winner_first(found: list[Setting]) -> list[Setting]:
    best = winner(found)
    return sorted(found, key=lambda setting: setting is not best)


def name(setting: Setting, found: list[Setting]) -> str:
    """What distinguishes a setting from those it was confirmed beside, such as "backbone = resnet50"."""
    common = company(found)
    differing = [
        f"{factor} = {level}"
        for factor, level in setting.levels.items()
        if level and (level != common[factor] or len(common) == 1)
    ]
    if setting is winner(found):
        return ", ".join(differing) + " (the winner)" if differing else "the winner"
    return ", ".join(differing) or "the common setting"


def company(found: list[Setting]) -> dict[str, str]:
    """The level of each factor that most settings share: the search's choice, varied one factor at a time."""
    ordered = winner_first(found)  # of two equally frequent levels, the winner's
    shared = {}
    for factor in ordered[0].levels if ordered else []:
        levels = [setting.levels[factor] for setting in ordered]
        shared[factor] = max(levels, key=levels.count)
    return shared


def groups(results: Results, items: pd.Index) -> NDArray[np.int64]:
    """For each item the number of its group of duplicates; an item without a group is its own."""
    listed = results.manifest.drop_duplicates("item").set_index("item")["group"]
    codes = pd.factorize(listed.reindex(items))[0]
    alone = codes < 0
    codes[alone] = len(items) + np.arange(alone.sum())
    return codes


def setting_text(levels: Mapping[str, str]) -> str:
    return ", ".join(f"{factor} {level}" for factor, level in levels.items() if level)
