"""Effects of searches whose truth is known; trials are stopped by the study's own ASHA unless said otherwise."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.search.design import nuisance_values, search_of
from analysis.search.effects import INTERACTION_COLUMNS, MAIN_COLUMNS, interactions, main_effects
from analysis.search.rung import outcomes
from study import results
from tests.searches import FACTORS, search

REPLAYS = 12


def found(read):
    made = search_of(read, outcomes(read))
    return main_effects(made), interactions(made)


def crossed(levels):
    return 0.8 if (levels["f"] == "y") == (levels["g"] == "q") else 0.0


def row_of(between, **named):
    return between[(between[list(named)] == list(named.values())).all(axis=1)].iloc[0]


@pytest.fixture(scope="module")
def planted():
    return [found(search(crossed, seed=seed)) for seed in range(REPLAYS)]


@pytest.fixture(scope="module")
def nothing():
    return [found(search(lambda levels: 0.0, seed=seed)) for seed in range(REPLAYS)]


def test_a_planted_interaction_is_found_with_its_sign_and_covered(planted):
    """y over x gains 0.8 with q and loses 0.8 with p."""
    rows = [row_of(b, factor_a="f", factor_b="g", level_a1="x", level_a2="y") for _, b in planted]
    assert all(row["level_b1"] == "p" and row["level_b2"] == "q" for row in rows)
    contrasts = np.array([row["contrast"] for row in rows])
    assert (contrasts > 0).all()
    assert abs(contrasts.mean() - 1.6) < 0.2
    assert sum(row["low"] <= 1.6 <= row["high"] for row in rows) >= REPLAYS - 2
    assert sum(row["reverses"] for row in rows) >= REPLAYS - 1
    assert sum(row["p_holm"] < 0.05 for row in rows) >= REPLAYS - 2


def test_the_view_without_a_model_agrees(planted):
    rows = [row_of(b, factor_a="f", factor_b="g", level_a1="x", level_a2="y") for _, b in planted]
    assert sum(row["wins_low"] > 0 for row in rows) >= REPLAYS - 1
    assert not any(row["disagree"] for row in rows)


def test_no_effect_gives_few_false_positives(nothing):
    effects, between = (pd.concat(frames) for frames in zip(*nothing, strict=True))
    for frame in (effects, between):
        assert ((frame["low"] > 0) | (frame["high"] < 0)).mean() <= 0.08
        assert ((frame["wins_low"] > 0) | (frame["wins_high"] < 0)).mean() <= 0.1
    assert sum((b["p_holm"] < 0.05).any() for _, b in nothing) <= 2


@pytest.mark.parametrize(("at_the_end", "at_first"), [(0.8, 0.0), (0.0, -1.0)])
def test_an_effect_is_not_judged_by_its_survivors(at_the_end, at_first):
    """Levels that differ, and one that is as good at the end but far behind where most trials are stopped."""
    leads, survivors = [], []
    for seed in range(8):
        read = search(
            lambda levels: at_the_end * (levels["g"] == "q"),
            seed=seed,
            late=lambda levels: -at_first * (levels["g"] == "q"),
        )
        seen = outcomes(read)
        effects = main_effects(search_of(read, seen)).set_index(["factor", "level"])["contrast"]
        leads.append(effects["g", "q"] - effects["g", "p"])
        last = pd.Series(seen.logits[:, -1]).groupby(seen.trials["g"]).mean()
        survivors.append(last["q"] - last["p"])
    truth = at_the_end + at_first * np.exp(-8 / 3)  # what is left to gain after nine epochs
    assert abs(np.mean(leads) - truth) < 0.1
    assert abs(np.mean(leads) - truth) < abs(np.mean(survivors) - truth)


def test_nobody_stopped_is_ordinary_least_squares():
    """Balanced, without nuisances: differences of cell means."""
    read = search(crossed, asha=False, extra={"nuisances": {}})
    effects, between = found(read)
    last = pd.Series(outcomes(read).logits[:, -1])
    cells = last.groupby([read.trials["f"], read.trials["g"]]).mean()
    row = row_of(between, factor_a="f", factor_b="g", level_a1="x", level_a2="y")
    assert row["effect_b1"] == pytest.approx(cells["y", "p"] - cells["x", "p"])
    assert row["contrast"] == pytest.approx(cells["y", "q"] - cells["x", "q"] - row["effect_b1"])
    levels = last.groupby(read.trials["f"]).mean()
    expected = (levels - levels.mean())[["x", "y", "z"]].tolist()
    assert effects[effects["factor"] == "f"]["contrast"].tolist() == pytest.approx(expected)
    assert effects["accuracy"].iloc[0] == pytest.approx(1 / (1 + np.exp(-levels["x"])))


def test_failed_trials_count_as_the_worst():
    read = search(lambda levels: 0.0, asha=False)
    half = (read.trials["g"] == "q") & (np.arange(len(read.trials)) % 4 < 2)
    read.trials.loc[half, ["status", "val_accuracy"]] = ["failed", np.nan]
    effects, _ = found(read)
    g = effects[effects["factor"] == "g"].set_index("level")
    assert g.loc["q", "failed"] == half.sum() > 0
    assert g.loc["q", "high"] < 0
    assert g.loc["q", "wins_high"] < 0


def test_factors_that_change_in_step_are_refused():
    read = search(lambda levels: 0.5 * (levels["g"] == "q"), asha=False)
    read.trials["h"] = read.trials["g"].map({"p": "u", "q": "v"})
    effects, between = found(read)
    effects = effects.set_index("factor")
    assert effects.loc["f", "told_apart"].all()
    assert not effects.loc[["g", "h"], "told_apart"].any()
    assert effects.loc[["g", "h"], "contrast"].isna().all()
    assert not ((between["factor_a"] == "g") & (between["factor_b"] == "h")).any()


def test_a_conditional_factor_is_compared_where_it_exists():
    """h exists with g = p alone: no cell of h with q, and h's own effect within p."""
    read = search(lambda levels: 0.6 * (levels["h"] == "v") * (levels["g"] == "p"), asha=False)
    read.trials["h"] = read.trials["h"].where(read.trials["g"] == "p")
    effects, between = found(read)
    h = effects[effects["factor"] == "h"].set_index("level")
    assert h.loc["v", "low"] > 0
    assert h["trials"].sum() == (read.trials["g"] == "p").sum()
    assert set(zip(between["factor_a"], between["factor_b"], strict=True)) == {("f", "g"), ("f", "h")}


def test_contract_columns_come_first(planted):
    effects, between = planted[0]
    assert list(between.columns[:6]) == ["factor_a", "factor_b", "contrast", "low", "high", "rung"]
    assert list(between.columns) == INTERACTION_COLUMNS
    assert list(effects.columns) == MAIN_COLUMNS
    assert len(between) == 3 + 3 + 1  # two-by-two tables of 3x2, 3x2 and 2x2
    clearness = between["contrast"].abs() / (between["high"] - between["low"])
    assert clearness.is_monotonic_decreasing


@pytest.mark.parametrize("when", [{"g": "q"}, {"g": ["q"]}])
def test_a_nuisance_is_known_where_it_exists_alone(when):
    read = search(lambda levels: 0.0, asha=False, extra={"nuisances": {"learning_rate": {"log": True, "when": when}}})
    values = nuisance_values(read, outcomes(read).trials)["learning_rate"]
    assert (np.isfinite(values) == (read.trials["g"] == "q")).all()
    assert np.nanmax(values) < 0  # logs of rates


cell = st.sampled_from(["x", "y", "", "=1", "nan"])
number = st.one_of(st.none(), st.floats(-2, 2), st.sampled_from([0.0, 1.0, np.inf]))


@given(
    rows=st.lists(
        st.tuples(cell, cell, st.sampled_from(results.STATUSES), st.integers(0, 4), st.lists(number, max_size=4)),
        max_size=12,
    ),
    rate=st.lists(number, min_size=12, max_size=12),
)
@settings(max_examples=40)
def test_small_and_strange_tables_never_stop_the_report(rows, rate):
    names = [f"t{i}" for i in range(len(rows))]
    columns = {
        "trial": names,
        "phase": "search",
        "status": [one[2] for one in rows],
        "epochs_run": [one[3] for one in rows],
        "audit": True,
        "f": [one[0] or None for one in rows],
        "g": [one[1] or None for one in rows],
        "rate": rate[: len(rows)],
    }
    seen = [(name, k + 1, v) for name, one in zip(names, rows, strict=True) for k, v in enumerate(one[4])]
    epochs = pd.DataFrame(seen, columns=["trial", "epoch", "val_accuracy"]).astype({"val_accuracy": float})
    study = {"name": "s", "question": "q", "factors": {"f": ["x", "y", "z"], "g": ["x", "=1", "=1"]}}
    study["nuisances"] = {"rate": {"log": True}, "gone": None}
    manifest = pd.DataFrame({"keep": pd.Series(dtype=bool), "fold": pd.Series(dtype=str)})
    read = results.Results(results.Path("nowhere"), study, manifest, pd.DataFrame(columns), epochs, pd.DataFrame())
    effects, between = found(read)
    for frame in (effects, between):
        known = frame.dropna(subset=["contrast", "low", "high"])
        assert ((known["low"] <= known["contrast"]) & (known["contrast"] <= known["high"])).all()
        assert frame["wins"].dropna().between(-1, 1).all()
    assert len(effects) == 5


def test_every_factor_is_there_without_a_single_trial():
    read = search(lambda levels: 0.0, trials=2)
    effects, between = found(results.Results(**{**vars(read), "trials": read.trials.head(0)}))
    assert effects["factor"].tolist() == [name for name, levels in FACTORS.items() for _ in levels]
    assert effects["contrast"].isna().all()
    assert between.empty
