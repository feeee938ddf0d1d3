"""How long the trials of a level take, and which level is called faster."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.confirmed.answers import answers
from analysis.confirmed.recommendations import recommendations
from analysis.confirmed.settings import settings
from study import results
from tests.fabricated import Plan, fabricate, pair


def test_what_a_trial_takes_is_compared_in_one_company(tmp_path):
    """Trials of other companies, of which the winner's levels have the most, say nothing of a level's time."""
    fabricate(tmp_path, Plan({"f": ["x", "y"], "g": ["u", "v"]}, {"f": "y", "g": "v"}, items=30, trials=8, seeds=3))
    read = results.read(tmp_path)
    company = (read.trials["phase"] != "search") & (read.trials["g"] == "v")
    read.trials["seconds"] = np.where(company, read.trials["f"].map({"x": 2.0, "y": 3.0}), 500.0)
    advised = recommendations(read, settings(read), answers(read)).set_index("factor")
    assert advised.loc["f", "trial_seconds"] == {"x": 2.0, "y": 3.0}[str(advised["recommended"]["f"])]


def test_a_busy_machine_makes_no_level_faster(tmp_path):
    fabricate(tmp_path, Plan({"f": ["x", "y"]}, {"f": "y"}, {}, items=30, trials=8, seeds=5))
    read = results.read(tmp_path)
    equal = pd.DataFrame([pair("x", "y", "equivalent")], columns=list(results.ANSWERS_COLUMNS))

    def cheaper(seconds: NDArray[np.float64]) -> str | None:
        read.trials["seconds"] = seconds
        return recommendations(read, settings(read), equal)["cheaper"][0]

    slow = read.trials["f"] == recommendations(read, settings(read), equal)["recommended"][0]
    # Half of its trials ran while the machine was busy.
    assert cheaper(np.where(slow & (slow.cumsum() % 2 == 0), 6.0, 2.0)) is None
    # It takes longer, and one trial of the other level ran while the machine was busy.
    assert cheaper(np.where(slow, 6.0, np.where(read.trials["seed"] == 5, 7.0, 2.0))) in {"x", "y"}
