"""The report's content, section by section, in reading order."""

from collections.abc import Mapping

import pandas as pd

from analysis.confirmed.outputs import outputs
from analysis.confirmed.settings import Setting
from analysis.findings.ablation import path_section
from analysis.findings.caveats import caveats_section, overlap_note
from analysis.findings.confusion import mistakes_section
from analysis.findings.data_size import data_size_sections
from analysis.findings.ensembles import ensembles_section
from analysis.findings.generalization import learning_section
from analysis.findings.label_errors import suspects_section
from analysis.findings.metrics import metrics_section
from analysis.findings.negative_control import control_section
from analysis.findings.neighbors import neighbour_sections
from analysis.findings.openings import openings_notes
from analysis.findings.published import published_section
from analysis.findings.recommendation import recommendations_section
from analysis.findings.regularization_strength import strength_sections
from analysis.findings.sanity_checks import sanity_section
from analysis.findings.uncertainty import doubt_section
from analysis.findings.unfreeze_depth import depth_section
from analysis.findings.winner import examples_section, winner_section
from analysis.layout.page import Page, Part, Section
from analysis.layout.text import plain
from analysis.sections.cost import trials_section
from analysis.sections.levels import factor_sections
from analysis.sections.plan import plan_section
from analysis.sections.progress import progress_notes
from analysis.sections.search import search_section
from study.results import Results


def page(results: Results, found: list[Setting], answered: pd.DataFrame) -> Page:
    """A section of None is left out, and so is a part without any section."""
    predicted, note = outputs(results), overlap_note(results)
    overlap = f" {note}" if note else ""  # at the end of the caption of every table with scores on test
    parts: Mapping[str, list[Section | None]] = {
        "What to do": [recommendations_section(results, found, answered)],
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
            suspects_section(results, found),
            metrics_section(results, found, predicted, overlap),
        ],
        "Beside the winner": [
            ensembles_section(results, found, predicted, overlap),
            *neighbour_sections(results, overlap),
        ],
        "Method and caveats": [
            caveats_section(results, found),
            search_section(results),
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
        notes=[*openings_notes(results, found, answered), *progress_notes(results, found)],
        parts=[Part(title, sections) for title, sections in shown.items() if sections],
    )
