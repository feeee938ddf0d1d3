"""Each refusal where the tables show its fault, and none where they do not tell."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from search_spaces import mixing, optimizers
from study.definitions import dogs
from study.setup.study_json import definition
from tests.fabricated import Plan
from tests.test_answers import LARGE, SMALL, answered

RATE = {"low": 1e-4, "high": 1e-1, "log": True, "when": None}
PLAN = Plan(items=60, trials=12)


def verdicts(tmp_path, plan: Plan = PLAN, **edits) -> list[str]:
    return answered(tmp_path, plan, **edits)["verdict"].tolist()


def declaring(**nuisances) -> Plan:
    """A small study of small and large, with these nuisances in study.json."""
    return Plan(factors=SMALL, winner=LARGE, items=60, trials=12, extra={"nuisances": nuisances})


def where(phases: list[str], **levels):
    """Rows of these phases and levels."""

    def rows(t: pd.DataFrame) -> pd.Series:
        chosen = t["phase"].isin(phases)
        for factor, level in levels.items():
            chosen &= t[factor] == level
        return chosen

    return rows


def setting(column: str, value, rows):
    """An edit of trials: `value` in these rows of `column`."""
    return lambda t: t.assign(**{column: t[column].mask(rows(t), value)})


TUNING = ["search", "refine"]


def test_a_sound_study_is_answered(tmp_path):
    assert not [verdict for verdict in verdicts(tmp_path) if verdict.startswith("refused")]


def test_a_nuisance_that_one_level_never_varied(tmp_path):
    edit = setting("learning_rate", 3e-3, where(TUNING, backbone="small"))
    found = verdicts(tmp_path, trials=edit)
    assert found[0] == "refused: learning_rate was not tuned for small, so the comparison may favor the other level"
    assert not any(verdict.startswith("refused") for verdict in found[1:])


def test_two_values_count_as_varied(tmp_path):
    def edit(t: pd.DataFrame) -> pd.DataFrame:
        t = setting("learning_rate", 3e-3, where(TUNING, backbone="small"))(t)
        t.loc[t["trial"] == "refine-000", "learning_rate"] = 2e-3
        return t

    assert not verdicts(tmp_path, declaring(learning_rate=RATE), trials=edit)[0].startswith("refused")


def test_a_level_that_was_only_confirmed_is_not_tuned(tmp_path):
    def edit(t: pd.DataFrame) -> pd.DataFrame:
        return t[~where(["refine"])(t)].assign(backbone=lambda t: t["backbone"].mask(where(["search"])(t), "large"))

    plan = declaring(learning_rate=RATE)
    assert "no search trial of small" in verdicts(tmp_path / "a", plan, trials=edit)[0]
    only_confirmed = verdicts(tmp_path / "b", plan, trials=lambda t: t[t["phase"] == "confirm"])
    assert only_confirmed == [
        "refused: learning_rate was not tuned for small, so the comparison may favor the other level"
    ]


def conditional(varied: bool):
    """A strength that only `l2` has."""

    def edit(t: pd.DataFrame) -> pd.DataFrame:
        spread = np.where(t["phase"] == "confirm", 1e-4, 1e-4 * (1 + np.arange(len(t)) % 3 * varied))
        return t.assign(l2=np.where(t["regularizer"] == "l2", spread, np.nan))

    return edit


@pytest.mark.parametrize("varied", [True, False])
def test_a_conditional_strength_is_asked_of_its_own_level(tmp_path, varied):
    strength = {"low": 1e-6, "high": 1e-2, "log": True, "when": {"regularizer": "l2"}}
    plan = Plan(
        factors={"regularizer": ["none", "dropout", "l2"]},
        winner={"regularizer": "none"},
        items=60,
        extra={"nuisances": {"learning_rate": RATE, "l2": strength}},
    )
    found = verdicts(tmp_path, plan, trials=conditional(varied))
    refused = [verdict.startswith("refused: l2 was not tuned for l2") for verdict in found]
    assert refused == [False, not varied, not varied]


@pytest.mark.parametrize(
    ("value", "nuisance", "reason"),
    [
        (
            0.09,
            RATE,
            "large did best at nearly the highest learning_rate tried (0.09 of 0.0001 to 0.1), so higher may be better",
        ),
        (1.1e-4, RATE, "large did best at nearly the lowest learning_rate tried (0.00011 of"),
        (0.5, RATE, "large did best at nearly the highest learning_rate tried (0.5 of"),
        (-1.0, RATE, "large did best at nearly the lowest learning_rate tried (-1 of"),
        (0.04, RATE, ""),  # u = 0.87 on the log scale
        (0.05, RATE | {"log": False}, "small did best at nearly the lowest learning_rate tried (0.001 of"),
        (0.09, RATE | {"natural": [0.1]}, ""),
        (0.09, RATE | {"natural": [1e-4]}, "large did best at nearly the highest learning_rate tried (0.09 of"),
        (0.09, RATE | {"when": {"backbone": ["small"]}}, ""),
    ],
)
def test_a_best_value_at_the_edge_of_its_range(tmp_path, value, nuisance, reason):
    edit = setting("learning_rate", value, where(["confirm"], backbone="large"))
    found = verdicts(tmp_path, declaring(learning_rate=nuisance), trials=edit)
    assert found[0].startswith(f"refused: {reason}" if reason else "no evidence")


def decided(kind: str, level: str = "large", end: str = "high", **more) -> dict:
    """A decision about learning_rate, as study.json lists it."""
    step = {"kind": kind, "levels": {"backbone": level}, "nuisance": "learning_rate", "end": end, "value": 0.09}
    return step | more


WIDER = decided("widen", before=0.1, after=1.0)
TWICE = decided("widen", before=1.0, after=10.0)


@pytest.mark.parametrize(
    ("value", "decisions", "reason"),
    [
        (0.09, [WIDER], ""),
        (0.9, [WIDER], "(0.9 of 0.0001 to 1), so higher may be better: widen the range"),
        (0.9, [WIDER, TWICE], ""),
        (0.09, [decided("flat")], ""),
        (0.09, [decided("behind")], ""),
        (0.9, [WIDER, decided("flat")], ""),
        (0.09, [decided("flat", "small")], "(0.09 of 0.0001 to 0.1), so higher may be better: widen the range"),
        (0.09, [decided("flat", end="low")], "so higher may be better: widen the range"),
        (0.09, [decided("flat", nuisance="dropout")], "so higher may be better: widen the range"),
        (0.09, [decided("at end")], "so higher may be better: the study could not widen the range"),
        (9.0, [WIDER, TWICE, decided("at end")], "the study widened the range twice and does not go on"),
        # What another program may have written widens nothing.
        (0.09, [WIDER | {"after": 0.05}], "(0.09 of 0.0001 to 0.1)"),
        (0.09, [WIDER | {"after": "1"}], "(0.09 of 0.0001 to 0.1)"),
        (0.09, [WIDER | {"end": "top"}], "(0.09 of 0.0001 to 0.1)"),
        (1.1e-4, [decided("widen", end="low", before=1e-4, after=-1.0)], "(0.00011 of 0.0001 to 0.1)"),
    ],
)
def test_a_range_counts_as_the_study_widened_it(tmp_path, value, decisions, reason):
    edit = setting("learning_rate", value, where(["confirm"], backbone="large"))
    plan = declaring(learning_rate=RATE)
    plan.extra["decisions"] = decisions
    (found,) = verdicts(tmp_path, plan, trials=edit)
    assert reason in found if reason else found == "no evidence"


@pytest.mark.parametrize(("decisions", "refused"), [([WIDER], False), ([], True)])
def test_points_in_a_widened_range_make_no_budgets_unequal(tmp_path, decisions, refused):
    def edit(t: pd.DataFrame) -> pd.DataFrame:
        more = t[t["trial"] == "refine-002"]
        return pd.concat([t, *(more.assign(trial=f"refine-1{n}", learning_rate=0.2 + n) for n in range(3))])

    plan = declaring(learning_rate=RATE)
    plan.extra["decisions"] = decisions
    (found,) = verdicts(tmp_path, plan, trials=edit)
    assert found == ("refused: unequal budgets (2 refinement trials against 5)" if refused else "no evidence")


def test_a_nuisance_that_sets_another_column(tmp_path):
    plan = declaring(sgd_learning_rate=RATE | {"sets": "learning_rate"})
    edit = setting("learning_rate", 0.09, where(["confirm"]))
    assert verdicts(tmp_path, plan, trials=edit)[0].startswith(
        "refused: small did best at nearly the highest sgd_learning_rate"
    )


@pytest.mark.parametrize(
    "nuisances",
    [
        {},
        None,
        ["learning_rate"],
        {"learning_rate": "from 1e-4 to 0.1"},
        {"learning_rate": {}},
        {"learning_rate": RATE | {"low": "1e-4"}},
        {"learning_rate": RATE | {"low": 0}},
        {"learning_rate": RATE | {"when": "always"}},
        {"elsewhere": RATE},
        {"elsewhere": RATE | {"sets": ["learning_rate"]}},
        {"trial": RATE},
    ],
)
def test_what_is_not_told_is_not_refused(tmp_path, nuisances):
    plan = Plan(factors=SMALL, winner=LARGE, items=60, trials=12, extra={"nuisances": nuisances})
    assert verdicts(tmp_path, plan, trials=setting("learning_rate", 0.09, where(["search", "refine", "confirm"]))) == [
        "no evidence"
    ]


def test_unequal_tries(tmp_path):
    found = verdicts(tmp_path, declaring(learning_rate=RATE), trials=lambda t: t[t["trial"] != "refine-000"])
    assert found == ["refused: unequal budgets (1 refinement trial against 2)"]


def test_a_level_with_nothing_to_tune_needs_one_try(tmp_path):
    plan = declaring(dropout=RATE | {"when": {"backbone": "large"}})

    def edit(t: pd.DataFrame) -> pd.DataFrame:
        return t[t["trial"] != "refine-000"].assign(
            dropout=lambda t: t["learning_rate"].where(t["backbone"] == "large")
        )

    assert verdicts(tmp_path, plan, trials=edit) == ["no evidence"]


def test_unequal_epochs(tmp_path):
    def edit(t: pd.DataFrame) -> pd.DataFrame:
        return t.assign(epochs=np.where(where(["confirm"], backbone="large")(t), 30, 9))

    assert verdicts(tmp_path, trials=edit)[0] == "refused: unequal budgets (confirmed with 9 epochs against 30)"


def test_no_common_rung(tmp_path):
    def edit(t: pd.DataFrame) -> pd.DataFrame:
        return t.assign(epochs_run=t["epochs_run"].mask(where(["search"], backbone="small")(t), 0))

    assert verdicts(tmp_path, trials=edit)[0] == "refused: no common rung: no search trial of small finished an epoch"


def test_seeds_three_and_four_are_answered_without_a_claim(tmp_path):
    plan = Plan(accuracy={("backbone", "small"): 0.6}, seeds=3, items=60, trials=12)
    assert verdicts(tmp_path, plan)[0] == "too few seeds"


def test_study_json_says_which_field_a_nuisance_sets_and_which_ends_are_natural():
    study = replace(
        dogs.STUDY,
        factors={"mixing": ["none", "mixup"], "optimizer": ["adamw", "sgd"]},
        nuisances={"mixup_alpha": mixing.alpha()["mixup_alpha"]} | optimizers.by_optimizer("sgd", "adamw"),
        fixed=dict(dogs.STUDY.fixed) | {"backbone": "resnet50"},
    )
    told = definition(study).get("nuisances", {})
    assert told["mixup_alpha"].get("natural") == [1.0]
    assert told["sgd_learning_rate"].get("sets") == "learning_rate"
    assert "natural" not in told["sgd_learning_rate"]
