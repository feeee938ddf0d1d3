"""The report's content, section by section, in reading order."""

from collections.abc import Mapping

import pandas as pd

from analysis.best_of_level import best_of_level_section
from analysis.combined import ensembles_section
from analysis.control import control_section
from analysis.cost import trials_section
from analysis.learned import learning_section, mistakes_section
from analysis.levels import factor_sections
from analysis.loss import loss_section
from analysis.neighbours import neighbour_sections
from analysis.outputs import outputs
from analysis.page import Page, Part, Section
from analysis.plan import plan_section
from analysis.published import published_section
from analysis.sanity import sanity_section
from analysis.scored import metrics_section
from analysis.sentences import overlap_note
from analysis.settings import Setting
from analysis.text import plain
from analysis.winning import winner_section
from study.results import Results


def page(results: Results, found: list[Setting], answered: pd.DataFrame) -> Page:
    """A section of None is left out, and so is a part without any section."""
    predicted, note = outputs(results), overlap_note(results)
    overlap = f" {note}" if note else ""  # at the end of the caption of every table with scores on test
    parts: Mapping[str, list[Section | None]] = {
        "Comparisons": [
            *factor_sections(results, found, answered, overlap),
            best_of_level_section(results),
            published_section(results, predicted, overlap),
        ],
        "Curves": [
            learning_section(results, found),
        ],
        "The winner": [
            winner_section(results, found, overlap),
            mistakes_section(results, found, overlap),
            loss_section(results, found, predicted, overlap),
        ],
        "Beside the winner": [
            metrics_section(found, predicted, overlap),
            ensembles_section(results, found, predicted, overlap),
            *neighbour_sections(results, overlap),
        ],
        "Method and caveats": [
            trials_section(results),
            control_section(results, found),
            sanity_section(results, found),
            plan_section(results),
        ],
    }
    shown = {title: [one for one in sections if one is not None] for title, sections in parts.items()}
    return Page(
        title=plain(results.study["name"]),
        dataset=plain(results.study.get("dataset", "")),
        question=plain(results.study["question"]),
        parts=[Part(title, sections) for title, sections in shown.items() if sections],
    )
