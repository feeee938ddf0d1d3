"""The settings that were confirmed: which levels each stands for, how each seed did, and which one won."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.confirmed.objective import merit
from study.results import Results, level_text, stands_for

TEST = "test"


@dataclass(frozen=True)
class Setting:
    """One confirmed setting, the same configuration run with several seeds."""

    arm: str
    levels: dict[str, str]  # its level of every factor
    stands_for: frozenset[tuple[str, str]]  # the (factor, level) pairs it was chosen for
    trials: pd.DataFrame  # its completed trials, by seed
    correct: pd.DataFrame  # rows as `trials`, one column a test item: 1, 0, or missing where not predicted
    merit: pd.Series  # rows as `trials`: the study's metric on validation, more is better

    @property
    def seeds(self) -> list[int]:
        return self.trials["seed"].astype(int).tolist()

    @property
    def tested(self) -> bool:
        """Whether every seed predicted every test item that any of them predicted."""
        return self.correct.shape[1] > 0 and not self.correct.isna().to_numpy().any()


def settings(results: Results, phase: str = "confirm") -> list[Setting]:
    """The confirmed settings, or those of another phase, in the order in which they first appear."""
    trials = results.trials
    done = trials[(trials["phase"] == phase) & (trials["status"] == "completed")]
    test = results.predictions[results.predictions["fold"] == TEST]
    right = test.assign(right=(test["label"] == test["predicted"]).astype(float))
    return [_setting(results, arm, rows, right) for arm, rows in done.groupby("arm", sort=False)]


def _setting(results: Results, arm: str, rows: pd.DataFrame, right: pd.DataFrame) -> Setting:
    rows = rows.sort_values("seed")
    ranked = merit(results)[rows.index].reset_index(drop=True)
    rows = rows.reset_index(drop=True)
    mine = right[right["trial"].isin(rows["trial"])]
    return Setting(
        arm=arm,
        levels={factor: level_text(rows[factor].iloc[0]) for factor in results.factors},
        stands_for=frozenset(pair for cell in rows["stands_for"] for pair in stands_for(cell)),
        trials=rows,
        correct=mine.pivot(index="trial", columns="item", values="right").reindex(rows["trial"]),
        merit=ranked,
    )


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
