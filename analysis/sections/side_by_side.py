"""Several studies side by side: their results, the comparability of their scores, their answers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.confirmed.answers import REFUSED, Answer, answers, pairs_of, rivals
from analysis.confirmed.images import baselines, tested
from analysis.confirmed.recommendations import recommendations
from analysis.confirmed.settings import setting_text, settings, winner
from analysis.confirmed.tables import scores
from analysis.layout import figures
from analysis.layout.page import Page, Part, Section, Table, table
from analysis.layout.text import NOTHING, percent_interval, plain, points, slug
from analysis.sections.progress import progress_notes
from study.results import Results


@dataclass(frozen=True)
class Study:
    """The part of a study that a comparison shows."""

    label: str
    facts: Mapping[str, Any]  # one row of the first table
    factors: Mapping[str, list[str]]
    answered: pd.DataFrame  # as answers.csv
    advised: pd.DataFrame  # as tables/recommendations.csv
    notes: list[str]
    test_pictures: frozenset[tuple[str, str]]  # path and hash of every test image


def studied(results: Results, label: str) -> Study:
    confirmed = settings(results)
    answered = answers(results)
    kept = results.manifest[results.manifest["keep"].eq(True) & tested(results, results.manifest)]
    return Study(
        label=label,
        facts=_facts(results, label),
        factors=results.factors,
        answered=answered,
        advised=recommendations(results, confirmed, answered),
        notes=progress_notes(results, confirmed),
        test_pictures=frozenset(zip(kept["path"], kept["sha256"], strict=True)),
    )


def labels(studies: Sequence[Results]) -> list[str]:
    """Name each study by its folder, or by its path where two folders have the same name."""
    names = [study.out.resolve().name for study in studies]
    pairs = zip(studies, names, strict=True)
    return [plain(name if names.count(name) == 1 else study.out.resolve()) for study, name in pairs]


def _facts(results: Results, label: str) -> dict[str, Any]:
    study, best = results.study, winner(settings(results))
    score = scores(results, best) if best else {}
    chance, frequent = baselines(results)
    return {
        "study": label,
        "dataset": plain(study.get("dataset", "")),
        "question": plain(study["question"]),
        "winner": setting_text(best.levels) if best else "",
        "accuracy": score.get("test_accuracy", np.nan),
        "low": score.get("test_low", np.nan),
        "high": score.get("test_high", np.nan),
        "chance": chance,
        "most_frequent": frequent,
        "test_pictures": int((results.manifest["keep"].eq(True) & tested(results, results.manifest)).sum()),
        "seeds": len(best.seeds) if best else 0,
        "trials": len(results.trials),
        "compute_seconds": study.get("compute_seconds"),
        "pretraining_overlap": study.get("pretraining_overlap"),
        "manifest": study.get("manifest"),
    }


def side_by_side(studies: Sequence[Study]) -> Page:
    names = [study.label for study in studies]
    times = Counter(factor for study in studies for factor in study.factors)
    common = [factor for factor, n in times.items() if n > 1]
    shared = [_shared(factor, f"shared-{i}-{slug(factor)}", studies) for i, factor in enumerate(common)]
    return Page(
        title="Studies side by side",
        dataset=", ".join(names),
        question=f"What did {', '.join(names[:-1])} and {names[-1]} find?",
        notes=[f"{study.label}: {note}" for study in studies for note in study.notes],
        parts=[
            Part("Studies", [_overview(studies), _choices(studies)]),
            *([Part("Shared factors", shared)] if shared else []),
        ],
    )


def _overview(studies: Sequence[Study]) -> Section:
    frame = pd.DataFrame([study.facts for study in studies])
    shown = {
        "study": "study",
        "test accuracy (95% CI)": lambda row: percent_interval(row.accuracy, row.low, row.high),
        "chance": "chance",
        "test images": "test_pictures",
        "seeds": "seeds",
        "trials": "trials",
        "compute time": "compute_seconds",
        "dataset": "dataset",
        "winner": lambda row: row.winner or NOTHING,
        "seen in pretraining": lambda row: NOTHING if pd.isna(row.pretraining_overlap) else row.pretraining_overlap,
    }
    caption = "Each study's winner on its own test images, mean over seeds"
    dots = frame.dropna(subset=["accuracy"]).rename(columns={"study": "level", "accuracy": "value"}).assign(winner=True)
    alt = "Test accuracy of each study's winner:"
    return Section(
        "Results",
        points=[f"{row.study}: {row.question}" for row in frame.itertuples()],
        tables=[table("studies", caption, frame, shown, stacked=True)],
        below=[comparable(a, b) for a, b in combinations(studies, 2)],
        figures=[figures.dots_figure("studies", alt, dots, "test accuracy")] if len(dots) else [],
    )


def comparable(a: Study, b: Study) -> str:
    """Say whether the scores of two studies are on the same images."""
    both = f"{a.label} and {b.label}"
    cannot = "so their scores are not comparable"
    if not a.facts["manifest"] or not b.facts["manifest"]:
        return f"{both}: the images used are not recorded for both, {cannot}."
    if a.facts["manifest"] != b.facts["manifest"]:
        return f"{both} use different images, {cannot}."
    if a.test_pictures != b.test_pictures:
        return f"{both} use the same images but different test images, {cannot}."
    return f"{both} use the same images and the same test images, so their scores are comparable."


def _choices(studies: Sequence[Study]) -> Section:
    """Return the recommendations of all studies, one row per factor."""
    every = list(dict.fromkeys(factor for study in studies for factor in study.factors))
    cells = {study.label: {row["factor"]: row for row in study.advised.to_dict("records")} for study in studies}
    frame = pd.concat([study.advised.assign(study=study.label) for study in studies], ignore_index=True)

    def cell(factor: str, label: str) -> str:
        row = cells[label].get(factor)
        if row is None or pd.isna(row["recommended"]):
            return NOTHING
        return f"{row['recommended'] or 'none'} ({row['decision']})"

    rows = [[plain(factor), *(plain(cell(factor, label)) for label in cells)] for factor in every]
    caption = "Recommended level of each factor, and how well the data support it"
    return Section("Recommendations", tables=[Table("choices", caption, ["factor", *cells], rows, frame, stacked=True)])


def _shared(factor: str, stem: str, studies: Sequence[Study]) -> Section:
    """Return the answers for one factor: a row for each pair of levels, a column for each study with the factor."""
    asked = {study.label: pairs_of(study.answered, factor) for study in studies if factor in study.factors}
    compared: dict[frozenset[str], tuple[str, str]] = {}
    for pair in (pair for answered in asked.values() for pair in answered):
        levels = pair["level_a"], pair["level_b"]
        compared.setdefault(frozenset(levels), levels)
    rows = [
        [plain(f"{a or 'none'} minus {b or 'none'}"), *(plain(_verdict(pairs, a, b)) for pairs in asked.values())]
        for a, b in compared.values()
    ]
    frame = pd.DataFrame([{"study": label} | pair for label, answered in asked.items() for pair in answered])
    caption = "Difference in accuracy on each study's own test images, in points (95% CI), and the verdict"
    return Section(f"Comparison: {factor}", tables=[Table(stem, caption, ["pair", *asked], rows, frame, stacked=True)])


def _verdict(answered: list[Answer], a: str, b: str) -> str:
    pair = next((pair for pair in rivals(answered, a) if pair["level_b"] == b), None)
    if pair is None:
        return NOTHING
    if pair["verdict"].startswith(REFUSED):
        return pair["verdict"]
    better = {"a": f"{a or 'none'} is better", "b": f"{b or 'none'} is better"}
    verdict = better.get(pair["verdict"], pair["verdict"])
    return f"{points(pair['difference'])} ({points(pair['low'])} to {points(pair['high'])}): {verdict}"
