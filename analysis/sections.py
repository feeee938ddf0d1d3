"""The report's content, section by section, in reading order."""

from collections.abc import Mapping

import pandas as pd

from analysis.advice import recommendations_section
from analysis.best_of_level import best_of_level_section
from analysis.caveats import caveats_section
from analysis.class_size import class_size_section
from analysis.combined import ensembles_section
from analysis.control import control_section
from analysis.cost import trials_section
from analysis.data_size import data_size_sections
from analysis.depth import depth_section
from analysis.effects_section import search_section
from analysis.learned import learning_section, mistakes_section
from analysis.levels import factor_sections
from analysis.loss import loss_section
from analysis.neighbours import neighbour_sections
from analysis.outputs import outputs
from analysis.page import Page, Part, Section
from analysis.path_section import path_section
from analysis.plan import plan_section
from analysis.progress import progress_notes
from analysis.published import published_section
from analysis.sanity import sanity_section
from analysis.scored import metrics_section
from analysis.sentences import overlap_note
from analysis.settings import Setting
from analysis.strengths import strength_sections
from analysis.text import plain
from analysis.trust_section import doubt_section, suspects_section
from analysis.winning import examples_section, winner_section
from study.results import Results


def page(results: Results, found: list[Setting], answered: pd.DataFrame) -> Page:
    """A section of None is left out, and so is a part without any section."""
    predicted, note = outputs(results), overlap_note(results)
    overlap = f" {note}" if note else ""  # at the end of the caption of every table with scores on test
    parts: Mapping[str, list[Section | None]] = {
        "What to do": [
            recommendations_section(results, found, answered),
        ],
        "Comparisons": [
            *factor_sections(results, found, answered, overlap),
            path_section(results, found),
            doubt_section(results, found),
            published_section(results, predicted, overlap),
        ],
        "Curves": [
            learning_section(results, found),
            *data_size_sections(results, found, overlap),
            depth_section(results, found),
            *strength_sections(results, found),
        ],
        "The winner": [
            winner_section(results, found, overlap),
            examples_section(results, found),
            mistakes_section(results, found, overlap),
            class_size_section(results, found),
            suspects_section(results, found),
            loss_section(results, found, predicted, overlap),
        ],
        "Beside the winner": [
            metrics_section(found, predicted, overlap),
            ensembles_section(results, found, predicted, overlap),
            *neighbour_sections(results, overlap),
        ],
        "The search": [
            search_section(results),
            best_of_level_section(results),
        ],
        "Method and caveats": [
            caveats_section(results, found),
            control_section(results, found),
            sanity_section(results, found),
            plan_section(results),
            trials_section(results),
        ],
    }
    shown = {title: [one for one in sections if one is not None] for title, sections in parts.items()}
    return Page(
        title=plain(results.study["name"]),
        dataset=plain(results.study.get("dataset", "")),
        question=plain(results.study["question"]),
        notes=progress_notes(results, found),
        parts=[Part(title, sections) for title, sections in shown.items() if sections],
    )
