"""Where the best crop depends on the momentum: the contrasts of a published table, by the functions of the report.

    python -m tests.li_et_al

Li et al., Rethinking the Hyperparameters for Fine-tuning (ICLR 2020, arXiv 2002.11770): ResNet-101, top-1 error in
percent on Stanford Dogs and Stanford Cars, one run a setting. Where `weight_decay` is empty it is the paper's default.
"""

from itertools import combinations
from pathlib import Path

import pandas as pd

from analysis.statistics.contrasts import corners, differences_of_differences

FACTORS = ["crop", "momentum", "learning_rate"]
DATASETS = ["dogs", "cars"]
DEFAULT = {"crop": "random-resized", "momentum": "0.9", "learning_rate": "0.01"}


def table() -> pd.DataFrame:
    """Accuracy in points by dataset; levels as text."""
    read = pd.read_csv(Path(__file__).with_name("li_et_al.csv"), dtype=dict.fromkeys([*FACTORS, "weight_decay"], str))
    return read.assign(**{name: 100 - read[f"{name}_error"] for name in DATASETS})


def contrasts(runs: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Every complete two-by-two table of two factors with the third held, in points of accuracy; no replicates."""
    found = []
    for a, b in combinations(FACTORS, 2):
        (held,) = set(FACTORS) - {a, b}
        for level, rows in runs.groupby(held):
            tables = corners(list(zip(rows[a], rows[b], strict=True)))
            named = {"dataset": dataset, "factor_a": a, "factor_b": b, "held": f"{held} {level}"}
            found.append(differences_of_differences(tables, rows[dataset].to_numpy()).assign(**named))
    return pd.concat(found, ignore_index=True)


def one_at_a_time(runs: pd.DataFrame, dataset: str, factors: list[str]) -> dict[str, str]:
    """The setting that follows from changing each factor alone, away from the default, and keeping what helped."""
    chosen = dict(DEFAULT)
    for factor in factors:
        others = [name for name in FACTORS if name != factor]
        alone = runs[(runs[others] == [DEFAULT[name] for name in others]).all(axis=1)]
        chosen[factor] = str(alone[factor].to_numpy()[alone[dataset].to_numpy().argmax()])
    return chosen


def accuracy(runs: pd.DataFrame, dataset: str, setting: dict[str, str]) -> float:
    (row,) = runs.loc[(runs[FACTORS] == [setting[name] for name in FACTORS]).all(axis=1), dataset]
    return float(row)


def main() -> None:
    runs, pair = table(), ["crop", "momentum"]
    for dataset in DATASETS:
        for row in contrasts(runs, dataset).itertuples():
            print(
                f"{dataset}, {row.held}: {row.factor_a} {row.level_a2} over {row.level_a1} is {row.effect_b1:+.2f} "
                f"points with {row.factor_b} {row.level_b1}, {row.effect_b2:+.2f} with {row.level_b2}: "
                f"contrast {row.contrast:+.2f}{', the sign changes' if row.reverses else ''}"
            )
        naive, best = one_at_a_time(runs, dataset, pair), runs[runs["learning_rate"] == DEFAULT["learning_rate"]]
        top = best.iloc[int(best[dataset].to_numpy().argmax())]
        print(
            f"{dataset}, one factor at a time: crop {naive['crop']} and momentum {naive['momentum']}, "
            f"{accuracy(runs, dataset, naive):.2f} %; best of the four: crop {top['crop']} and momentum "
            f"{top['momentum']}, {top[dataset]:.2f} %"
        )
    print("One run a setting: there is nothing to tell these contrasts from luck by, so no interval and no p value.")


if __name__ == "__main__":
    main()
