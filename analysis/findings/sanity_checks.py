"""Sanity checks: the gates before the first trial, and the same checks on the results."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.confirmed.settings import Setting, name
from analysis.layout.page import Section, table
from analysis.layout.text import number, percent
from study.results import Results, level_text
from study.writing import count

# Fine-tuning harmed a net if it ends this far below a linear probe on the net's frozen features.
_BELOW_PROBE = 0.02
_NOT_TUNED = "head"  # the unfreeze depth that does not train the features


def sanity_section(results: Results, confirmed: list[Setting]) -> Section | None:
    """Return the section; None if the gates were skipped and the results raise no objection."""
    nets = gates(results)
    objections = [*below_probe(results, confirmed), *worse_than_guessing(results)]
    if nets.empty and not objections:
        return None
    verdict = "" if objections else "No problems found."
    shown = {
        "backbone": "net",
        "linear probe": "probe_accuracy",
        "most frequent class": "chance",
        "images": "pictures",
        "gates passed": lambda row: row.passed or "none",
    }
    caption = (
        "Before the first trial, for each backbone: leave-one-out accuracy of a linear probe (ridge regression on "
        "frozen features), and the gates it passed"
    )
    tables = [table("gates", caption, nets, shown)] if len(nets) else []
    return Section("Sanity checks", [verdict], points=objections, tables=tables)


def _passed(net: Mapping[str, Any]) -> str:
    listed = net.get("gates")
    gates = [gate for gate in listed if isinstance(gate, Mapping)] if isinstance(listed, list) else []
    return ", ".join(dict.fromkeys(str(gate.get("name")) for gate in gates if gate.get("passed")))


def gates(results: Results) -> pd.DataFrame:
    """Return one row for each net that passed the gates, as far as study.json can be read."""
    preflight = results.study.get("preflight")
    rows = [
        {
            "net": str(net),
            "probe_accuracy": _number(record.get("probe_accuracy")),
            "chance": _number(record.get("chance")),
            "pictures": _number(record.get("pictures")),
            "passed": _passed(record),
        }
        for net, record in (preflight.items() if isinstance(preflight, Mapping) else ())
        if isinstance(record, Mapping)
    ]
    return pd.DataFrame(rows, columns=["net", "probe_accuracy", "chance", "pictures", "passed"])


def below_probe(results: Results, confirmed: list[Setting]) -> list[str]:
    """Return a sentence for each fine-tuned setting that is worse on validation than the linear probe of its net."""
    floors = gates(results).set_index("net")["probe_accuracy"].dropna()
    sentences = []
    for setting in confirmed:
        first = setting.trials.iloc[0]
        net, depth = level_text(first.get("backbone", "")), level_text(first.get("unfreeze", ""))
        if net not in floors or depth in ("", _NOT_TUNED) or level_text(first.get("weights", "")) == "none":
            continue
        reached = float(setting.trials["val_accuracy"].mean())
        if reached < floors[net] - _BELOW_PROBE:
            sentences.append(
                f"{name(setting, confirmed)}: fine-tuning reaches a validation accuracy of {percent(reached)}, below "
                f"the {percent(floors[net])} of a linear probe on the pretrained features of {net}. Check its learning "
                "rates and epochs before trusting its results."
            )
    return sentences


def worse_than_guessing(results: Results) -> list[str]:
    """Return how many trials learned nothing: training cross-entropy of at least ln K after one epoch."""
    labels = results.manifest.loc[results.manifest["keep"], "label"]
    first = results.epochs[results.epochs["epoch"] == 1]
    if labels.empty or first.empty:
        return []
    classes = labels.nunique()
    unlearned = int((first["train_cross_entropy"] >= math.log(classes)).sum())
    if not unlearned:
        return []
    return [
        f"{count(unlearned, 'trial')} of {number(len(first))} had a training cross-entropy of at least ln {classes} = "
        f"{math.log(classes):.2f} after one epoch, no better than chance: their learning rates are too high, or their "
        "steps too few."
    ]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
