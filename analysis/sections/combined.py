"""The report's section on ensembles."""

import pandas as pd

from analysis.confirmed.ensembles import ALL, GREEDY, SEEDS, SINGLE, ensembles
from analysis.confirmed.outputs import Outputs
from analysis.confirmed.settings import Setting
from analysis.layout.page import Section, Table, table
from analysis.layout.text import NOTHING, decimals, number, percent, percent_interval, points
from analysis.sections.sentences import LIKELY
from study.results import Results


def ensembles_section(results: Results, found: list[Setting], outputs: Outputs, overlap: str) -> Section | None:
    frame = ensembles(results, found, outputs)
    if frame.empty:
        return None
    explained = (
        "Models are averaged in log-probability, which is the same as averaging their logits. Greedy selection adds, "
        "twenty times, the model that helps most (Caruana et al. 2004). It is done within each repeat, on its "
        "validation images, which none of the models it chooses from trained on; the numbers are means over the "
        "repeats. Nothing here was chosen on the test images, and none of these ensembles is the winner of this "
        "study."
    )
    return Section("Ensembles", [ensemble_sentence(frame), explained], tables=[_table(frame, overlap)])


def ensemble_sentence(frame: pd.DataFrame) -> str:
    """What the ensemble that was chosen without the test fold gains; of all models where none was chosen."""
    kinds = frame.set_index("ensemble")
    kind = next(one for one in (GREEDY, ALL, SEEDS) if one in kinds.index)
    row = kinds.loc[kind]
    gain, low, high = (row[one] for one in ("difference", "difference_low", "difference_high"))
    more = "more"
    if gain < 0:
        more, gain, low, high = "fewer", -gain, -high, -low
    worth = "" if row["difference_low"] > 0 else " That is no evidence of a gain."
    return (
        f"The average of {f'models {kind}' if kind == GREEDY else kind} names {percent(row['accuracy'])} of the test "
        f"images right, {points(gain)} points {more} than {SINGLE} ({LIKELY} {points(low)} to {points(high)}, for "
        f"these models on new images), and takes {number(round(row['models'], 1))} models in place of one.{worth}"
    )


def _table(frame: pd.DataFrame, overlap: str) -> Table:
    shown = {
        "average of": lambda row: row.ensemble,
        "models": lambda row: number(round(row.models, 1)),
        "ensembles": lambda row: number(row.repeats),
        "validation": lambda row: percent(row.val_accuracy),
        "test (95 % interval)": lambda row: percent_interval(row.accuracy, row.low, row.high),
        "difference (95 % interval)": lambda row: (
            f"{points(row.difference)} ({points(row.difference_low)} to {points(row.difference_high)})"
            if pd.notna(row.difference)
            else NOTHING
        ),
        "log-loss": lambda row: decimals(row.log_loss),
    }
    caption = (
        "Ensembles on test. The best single model is the winner's best seed on validation. Where there are several "
        "ensembles, one for each repeat, the numbers are their means. Validation is shown where the members share "
        "one; it chose them, so it flatters. Difference: to the best single model, in points, by a paired bootstrap "
        f"over images.{overlap}"
    )
    return table("ensembles", caption, frame, shown)
