"""The confirmed settings: the levels they stand for, the results of their seeds, and the winner.

With test folds, a seed is a round of models, one for each fold. The models of a setting share their levels, but each
fold has its own nuisances. The column `seed` numbers all trials consecutively, round by round.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.confirmed.objective import merit
from analysis.decisions import Decision, recommended
from analysis.declared import budget
from study.results import PREDICTIONS_FILE, Results, ResultsError, level_text, metrics, stands_for

TEST = "test"


@dataclass(frozen=True)
class Setting:
    """One confirmed setting, the same configuration run with several seeds."""

    arm: str
    levels: dict[str, str]  # the level of every factor
    stands_for: frozenset[tuple[str, str]]  # the (factor, level) pairs that it represents
    trials: pd.DataFrame  # its completed trials, by seed; with test folds only complete rounds
    correct: pd.DataFrame  # one row per seed, one column per test item: 1, 0, or missing if not predicted
    merit: pd.Series  # rows as `trials`: the study's metric on validation, higher is better
    folds: NDArray[np.float64] | None = (
        None  # shape of `correct`: the test fold of each cell, if the study has test folds
    )
    models: int = 1  # per seed
    is_recommended: bool = False  # by the study's own decision

    @property
    def rounds(self) -> list[list[str]]:
        """Return the trials of each seed: one, or one for each test fold."""
        trials = self.trials["trial"].tolist()
        return [trials[i : i + self.models] for i in range(0, len(trials), self.models)]

    @property
    def seeds(self) -> list[int]:
        return (1 + (self.trials["seed"].astype(int) - 1) // self.models)[:: self.models].tolist()

    def by_seed(self, values: pd.Series) -> NDArray[np.float64]:
        """Return the mean of `values` (rows as `trials`) over the models of each seed, shape (seeds,)."""
        return values.to_numpy(float).reshape(-1, self.models).mean(axis=1)

    def on(self, seeds: Collection[int]) -> "Setting":
        """Return the setting as if it had been run with these of its seeds alone."""
        kept = np.isin(self.seeds, list(seeds))
        trials = np.repeat(kept, self.models)
        return replace(
            self,
            trials=self.trials[trials].reset_index(drop=True),
            correct=self.correct[kept],
            merit=self.merit[trials].reset_index(drop=True),
            folds=None if self.folds is None else self.folds[kept],
        )

    @property
    def tested(self) -> bool:
        """Whether all seeds predicted the same test items."""
        return self.correct.shape[1] > 0 and not self.correct.isna().to_numpy().any()


NO_LEVELS = "[]"  # a `stands_for` cell that was written but names no level


def settings(results: Results, phase: str = "confirm") -> list[Setting]:
    """Return the confirmed settings, or those of another phase, in the order in which they first appear.

    Settings that were confirmed around an earlier winner and no longer stand for any level are left out. The
    recommended setting stands for no level if it combines levels that were compared one by one.

    Raises:
        ResultsError: two models of one round predict the same test item.
    """
    every = _settings(results, phase)
    if phase == "confirm" and (chosen := recommended(results)) is not None:
        every = [replace(setting, is_recommended=_is_named(setting, chosen)) for setting in every]
    standing = any(setting.stands_for for setting in every)
    return [
        setting
        for setting in every
        if setting.stands_for
        or setting.is_recommended
        or not standing
        or set(setting.trials["stands_for"]) != {NO_LEVELS}
    ]


def _is_named(setting: Setting, chosen: Decision) -> bool:
    """Whether a decision names a setting: by its arm, or with test folds by its levels."""
    return setting.arm == chosen.arm if setting.models == 1 else chosen.concerns(setting.levels)


def _settings(results: Results, phase: str) -> list[Setting]:
    trials, models = results.trials, test_folds(results) if phase == "confirm" else None
    done = trials[(trials["phase"] == phase) & (trials["status"] == "completed")]
    right = test_predictions(results)
    if models is None or not results.factors:
        return [_setting(results, rows, right) for _, rows in done.groupby("arm", sort=False)]
    levels = [done[factor].map(level_text) for factor in results.factors]
    complete = []
    for _, rows in done.groupby(levels, sort=False):
        # leave out incomplete rounds: they do not predict every image
        rounds = rows.groupby((rows["seed"] - 1) // models)["seed"]
        whole = rows[(rounds.transform("nunique") == models) & (rounds.transform("size") == models)]
        if len(whole):
            complete.append(_setting(results, whole, right, models))
    return complete


def test_predictions(results: Results) -> pd.DataFrame:
    """Return the predictions of test images with a column `right`: 1 if correct, else 0."""
    test = results.predictions[results.predictions["fold"] == TEST]
    return test.assign(right=(test["label"] == test["predicted"]).astype(float))


def test_folds(results: Results) -> int | None:
    """Return the number of models per seed, each tested on its share of all images; None for a single test fold."""
    folds = budget(results, "test_folds") or 0
    return folds if folds > 1 else None


def _setting(results: Results, rows: pd.DataFrame, right: pd.DataFrame, models: int = 1) -> Setting:
    rows = rows.sort_values("seed")
    scores = merit(results)[rows.index].reset_index(drop=True)
    rows = rows.reset_index(drop=True)
    correct, folds = _correct(rows, right, models)
    return Setting(
        arm=rows["arm"].iloc[0],
        levels={factor: level_text(rows[factor].iloc[0]) for factor in results.factors},
        stands_for=frozenset(pair for cell in rows["stands_for"] for pair in stands_for(cell)),
        trials=rows,
        correct=correct,
        merit=scores,
        folds=folds,
        models=models,
    )


def _correct(rows: pd.DataFrame, right: pd.DataFrame, models: int) -> tuple[pd.DataFrame, NDArray[np.float64] | None]:
    """Return `correct` and `folds` of a setting."""
    cells = right[right["trial"].isin(rows["trial"])]
    if models == 1:
        return cells.pivot(index="trial", columns="item", values="right").reindex(rows["trial"]), None
    repeat = cells["trial"].map(rows.set_index("trial")["seed"]).astype(int) - 1
    cells = cells.assign(round=repeat // models, fold=repeat % models)
    twice = cells[cells.duplicated(["round", "item"])]
    if len(twice):
        item, number = twice.iloc[0][["item", "round"]]
        raise ResultsError(
            f"{PREDICTIONS_FILE}: two models of round {number + 1} of one setting test item {item}; with test folds "
            "each item is tested once per round. Fix `seed` in the trials, or `test_folds` in study.json."
        )
    rounds = pd.Index((rows["seed"].astype(int) - 1) // models).unique()
    wide = {name: cells.pivot(index="round", columns="item", values=name).reindex(rounds) for name in ("right", "fold")}
    return wide["right"], wide["fold"].to_numpy(float)


def on_common_seeds(results: Results, compared: list[Setting]) -> list[Setting]:
    """Return settings on the seeds that all of them have, if one has no others and the study adds seeds where in doubt.

    Seeds that are unequal for another reason stay as they are: the study gives all settings the same number of seeds,
    or a trial failed, which a comparison without its seed would hide.
    """
    common = set.intersection(*(set(setting.seeds) for setting in compared))
    trials, arms = results.trials, [setting.arm for setting in compared]
    failed = (trials["phase"] == "confirm") & (trials["status"] == "failed") & trials["arm"].isin(arms)
    adds_seeds = (budget(results, "most_seeds") or 0) > (budget(results, "seeds") or 0)
    if not adds_seeds or len(common) < min(len(setting.seeds) for setting in compared) or failed.any():
        return compared
    return [setting.on(common) for setting in compared]


def standing_for(confirmed: list[Setting], factor: str, level: str) -> Setting | None:
    """Return the first setting that stands for a level of a factor."""
    return next((setting for setting in confirmed if (factor, level) in setting.stands_for), None)


def having(levels: Mapping[str, str], trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that have these levels of the factors."""
    for factor, level in levels.items():
        trials = trials[trials[factor].map(level_text) == level]
    return trials


def winner(confirmed: list[Setting]) -> Setting | None:
    """Return the setting that the study recommends; if it recorded none, the best one.

    That is the best on validation, mean over seeds, by the study's metric. The test fold is not used.
    """
    if chosen := next((setting for setting in confirmed if setting.is_recommended), None):
        return chosen
    scored = [setting for setting in confirmed if setting.merit.notna().any()]
    if not scored:
        return confirmed[0] if confirmed else None
    means = metrics.means_over_seeds(
        [
            [(int(seed), score) for seed, score in zip(s.trials["seed"], s.merit, strict=True) if not np.isnan(score)]
            for s in scored
        ]
    )
    return scored[max(range(len(scored)), key=means.__getitem__)]


def best_trial(setting: Setting) -> str:
    """Return the trial that is best on validation, the first if several are equal."""
    return setting.trials["trial"].iloc[int(setting.merit.to_numpy().argmax())]


def winner_first(confirmed: list[Setting]) -> list[Setting]:
    best = winner(confirmed)
    return sorted(confirmed, key=lambda setting: setting is not best)


def name(setting: Setting, confirmed: list[Setting]) -> str:
    """Return the levels that distinguish a setting from the other confirmed ones, such as "backbone = resnet50"."""
    common = company(confirmed)
    own = {f: level for f, level in setting.levels.items() if level and (level != common[f] or len(common) == 1)}
    differing = [f"{factor} = {level}" for factor, level in own.items()]
    if setting is winner(confirmed):
        return ", ".join(differing) + " (the winner)" if differing else "the winner"
    return ", ".join(differing) or "the common setting"


def company(confirmed: list[Setting]) -> dict[str, str]:
    """Return the most frequent level of each factor among the settings that stand for levels.

    These levels are the setting around which levels were compared, because the others vary one factor at a time.
    """
    ordered = winner_first(confirmed)  # so that the winner's level wins a tie
    ordered = [setting for setting in ordered if setting.stands_for] or ordered
    shared = {}
    for factor in ordered[0].levels if ordered else []:
        levels = [setting.levels[factor] for setting in ordered]
        shared[factor] = max(levels, key=levels.count)
    return shared


def groups(results: Results, items: pd.Index) -> NDArray[np.int64]:
    """Return the number of each item's group of duplicates; an item without a group is a group of its own."""
    listed = results.manifest.drop_duplicates("item").set_index("item")["group"]
    codes = pd.factorize(listed.reindex(items))[0]
    alone = codes < 0
    codes[alone] = len(items) + np.arange(alone.sum())
    return codes


def setting_text(levels: Mapping[str, str]) -> str:
    return ", ".join(f"{factor} {level}" for factor, level in levels.items() if level)
