"""The report's section on what its numbers rest on: what chose, what was held fixed, what is missing."""

from collections.abc import Mapping

from analysis.confirmed import pictures
from analysis.confirmed.objective import objective
from analysis.confirmed.settings import TEST, Setting
from analysis.layout.page import Section
from analysis.layout.text import count, number, value_text
from analysis.sections.sentences import overlap_note
from analysis.statistics.inference import SEEDS_FOR_A_CLAIM
from study.results import Results


def caveats_section(results: Results, found: list[Setting]) -> Section:
    said = [
        _chosen(results),
        _fixed(results),
        _few_seeds(found),
        overlap_note(results),
        _dropped(results),
        _failed(results),
    ]
    return Section("What these numbers rest on", points=[one for one in said if one])


def _chosen(results: Results) -> str:
    sizes = pictures.folds(results).set_index("fold")["pictures"]
    val, test = (number(sizes.get(fold, 0)) for fold in ("val", TEST))
    return (
        f"Epochs, settings and the winner were chosen by {objective(results).said} on validation ({val} pictures), "
        f"which flatters that number. The {test} test pictures chose nothing; accuracy on test is what to quote."
    )


def _fixed(results: Results) -> str:
    """An answer holds for what was not varied."""
    fixed = results.study.get("fixed")
    if not isinstance(fixed, Mapping) or not fixed:
        return "What was held fixed is not recorded."
    return f"Everything holds for what was held fixed: {value_text(dict(fixed))}."


def _few_seeds(found: list[Setting]) -> str:
    fewest = min((len(set(one.seeds)) for one in found), default=SEEDS_FOR_A_CLAIM)
    if fewest >= SEEDS_FOR_A_CLAIM:
        return ""
    return f"Some settings have only {count(fewest, 'seed')}; a claim takes {SEEDS_FOR_A_CLAIM}."


def _dropped(results: Results) -> str:
    lost = int(pictures.dropped(results)["files"].sum())
    if not lost:
        return "No file was left out."
    return f"{number(lost)} of {count(len(results.manifest), 'file')} were left out, for the reasons below."


def _failed(results: Results) -> str:
    failed = int((results.trials["status"] == "failed").sum())
    return f"{number(failed)} of {count(len(results.trials), 'trial')} failed, for the reasons below." if failed else ""
