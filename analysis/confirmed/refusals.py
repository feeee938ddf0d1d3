"""Reasons to refuse to compare two confirmed settings as two levels of a factor.

A refusal needs a fault that the tables show. Facts that another program did not record are no reason to refuse.
"""

import numpy as np
import pandas as pd

from analysis.confirmed.objective import merit
from analysis.confirmed.settings import Setting
from analysis.decisions import decisions
from analysis.declared import Nuisance, nuisances
from analysis.layout.text import number
from analysis.statistics.inference import MIN_SEEDS
from study.results import EDGE, Results, level_text
from study.writing import count


def level_texts(results: Results) -> pd.DataFrame:
    """Return the level of every factor as text, rows as `trials`; computed once for all pairs of levels."""
    columns = {}
    for factor in results.factors:
        codes, levels = pd.factorize(results.trials[factor], use_na_sentinel=False)
        columns[factor] = np.array([level_text(level) for level in levels], dtype=object)[codes]
    return pd.DataFrame(columns, index=results.trials.index)


def refusal(results: Results, texts: pd.DataFrame, a: Setting, b: Setting, factor: str) -> str:
    """Return why `a` and `b` cannot be compared as levels of `factor`, or an empty string. `texts`: `level_texts`."""
    return (
        _other_factors_differ(a, b, factor)
        or _different_repeats(a, b)
        or _no_common_rung(results, texts, a, b, factor)
        or _untuned(results, texts, a, factor)
        or _untuned(results, texts, b, factor)
        or _unequal_budgets(results, texts, a, b, factor)
        or _at_an_edge(results, texts, a, factor)
        or _at_an_edge(results, texts, b, factor)
    )


def _other_factors_differ(a: Setting, b: Setting, factor: str) -> str:
    if a.arm == b.arm:
        return "the same setting stands for both levels"
    # A conditional factor that exists under only one of the two levels belongs to that level.
    differing = [f for f, level in a.levels.items() if f != factor and len({level, b.levels[f]} - {""}) > 1]
    return f"other factors were not held equal ({', '.join(differing)})" if differing else ""


def _different_repeats(a: Setting, b: Setting) -> str:
    """Require the same seeds and test images, and enough of both."""
    if a.seeds != b.seeds or len(set(a.seeds)) < len(a.seeds):
        of_a, of_b = (" ".join(map(str, setting.seeds)) for setting in (a, b))
        return f"unequal seeds ({of_a} against {of_b})"
    if len(a.seeds) < MIN_SEEDS:
        return f"fewer than {MIN_SEEDS} seeds ({len(a.seeds)})"
    if not (a.correct.shape[1] or b.correct.shape[1]):
        return "the test fold has not been opened"
    if not (a.tested and b.tested and set(a.correct.columns) == set(b.correct.columns)):
        return "not all models predicted the same test images"
    return "" if a.correct.shape[1] >= 2 else "fewer than 2 test images"


def _no_common_rung(results: Results, texts: pd.DataFrame, a: Setting, b: Setting, factor: str) -> str:
    """Require that a search trial of each level finished an epoch: otherwise the search never compared the level."""
    search = results.trials[results.trials["phase"] == "search"]
    if search.empty:
        return ""
    reached = set(texts.loc[search.index[search["epochs_run"] >= 1], factor])
    missing = [setting.levels[factor] for setting in (a, b) if setting.levels[factor] not in reached]
    return f"no common rung: no search trial of {missing[0]} finished an epoch" if missing else ""


def _untuned(results: Results, texts: pd.DataFrame, setting: Setting, factor: str) -> str:
    """Require at least two tried values of each nuisance that exists under the level."""
    level = setting.levels[factor]
    trials = results.trials
    tried = trials[trials["phase"].isin(["search", "refine"]) & (texts[factor] == level)]
    for nuisance in _nuisances(results, setting):
        if tried[nuisance.column].nunique() < 2:
            return f"{nuisance.name} was not tuned for {level or 'none'}, so the comparison may favor the other level"
    return ""


def _unequal_budgets(results: Results, texts: pd.DataFrame, a: Setting, b: Setting, factor: str) -> str:
    """Require equal budgets: more trials find better hyperparameters, and more epochs train better models."""
    if _tunable(results) and not (_nuisances(results, a) and _nuisances(results, b)):
        tries = (0, 0)  # one of the two levels has nothing to tune
    else:
        tries = (_refined(results, texts, a), _refined(results, texts, b))
    if tries[0] != tries[1]:
        return f"unequal budgets ({count(tries[0], 'refinement trial')} against {number(tries[1])})"
    if factor == "epochs" or "epochs" not in results.trials:
        return ""
    epochs = [sorted(set(setting.trials["epochs"].dropna())) for setting in (a, b)]
    if epochs[0] and epochs[1] and epochs[0] != epochs[1]:
        of_a, of_b = (" or ".join(map(number, values)) for values in epochs)
        return f"unequal budgets (confirmed with {of_a} epochs against {of_b})"
    return ""


def _refined(results: Results, texts: pd.DataFrame, setting: Setting) -> int:
    """Return the number of refinement trials of a setting; several levels of one setting share them.

    Only settings with a widened nuisance have trials outside its declared range, so these do not count.
    """
    same = _refinement_of(results, texts, setting)
    if decisions(results):
        for nuisance in _nuisances(results, setting):
            same &= nuisance.as_declared(results.trials[nuisance.column])
    return int(same.sum())


def _refinement_of(results: Results, texts: pd.DataFrame, setting: Setting) -> pd.Series:
    """Return a mask of the trials that refined a setting."""
    same = results.trials["phase"] == "refine"
    for factor, level in setting.levels.items():
        same &= texts[factor] == level
    return same


def _at_an_edge(results: Results, texts: pd.DataFrame, setting: Setting, factor: str) -> str:
    """Refuse if a better value may lie beyond the end of a range, unless the study found that it would not matter."""
    for nuisance in _nuisances(results, setting):
        best = _best_value(results, texts, setting, nuisance)
        end = None if best is None else _near(nuisance, best)
        if end is None or any(_decided(results, kind, setting, nuisance, end) for kind in ("flat", "behind")):
            continue
        end_tried, beyond = ("lowest", "lower") if end == "low" else ("highest", "higher")
        way_out = "widen the range"
        if _decided(results, "at end", setting, nuisance, end):
            way_out = f"the study {_how_widened(results, nuisance, end)}"
        return (
            f"{setting.levels[factor] or 'none'} did best at nearly the {end_tried} {nuisance.name} tried "
            f"({best:.2g} of {nuisance.low:g} to {nuisance.high:g}), so {beyond} may be better: {way_out}"
        )
    return ""


def _near(nuisance: Nuisance, value: float) -> str | None:
    """Return the end of the range in whose outer tenth a value lies; None if that end is natural."""
    position = nuisance.position(value)
    end = "low" if position < EDGE else "high" if position > 1 - EDGE else None
    return None if end is None or getattr(nuisance, end) in nuisance.natural else end


def _best_value(results: Results, texts: pd.DataFrame, setting: Setting, nuisance: Nuisance) -> float | None:
    """Return the value that did best in a setting. With test folds, each of which has its own, the best on average."""
    tried = setting.trials
    if setting.models > 1:
        refined = results.trials[_refinement_of(results, texts, setting) & (results.trials["status"] == "completed")]
        means = merit(results)[refined.index].groupby(refined["arm"]).mean()
        tried = refined[refined["arm"] == means.idxmax()] if means.notna().any() else tried
    values = tried[nuisance.column].dropna()
    return None if values.empty else float(values.median())


def _decided(results: Results, kind: str, setting: Setting, nuisance: Nuisance, end: str) -> bool:
    return any(
        (decision.kind, decision.nuisance, decision.end) == (kind, nuisance.name, end)
        and decision.concerns(setting.levels)
        for decision in decisions(results)
    )


def _how_widened(results: Results, nuisance: Nuisance, end: str) -> str:
    """Say why a study did not widen a range further."""
    steps = [d for d in decisions(results) if (d.kind, d.nuisance, d.end) == ("widen", nuisance.name, end)]
    times = {1: "once", 2: "twice", 3: "three times"}.get(len(steps), count(len(steps), "time"))
    return f"widened the range {times} and does not go on" if steps else "could not widen the range"


def _nuisances(results: Results, setting: Setting) -> list[Nuisance]:
    """Return the nuisances that exist in a setting."""
    return [nuisance for nuisance in _tunable(results) if nuisance.exists_in(setting.levels)]


def _tunable(results: Results) -> list[Nuisance]:
    """Return the nuisances with a complete declaration in study.json and a numeric column in trials.parquet."""
    complete = [n for n in nuisances(results) if n.has_range and n.when is not None and n.column]
    return [n for n in complete if pd.api.types.is_numeric_dtype(results.trials[n.column])]
