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
from analysis.sections.decisions import decisions_section
from analysis.sections.levels import factor_sections
from analysis.sections.plan import plan_section
from analysis.sections.progress import progress_notes
from analysis.sections.search import search_section
from study.results import Results


def page(results: Results, confirmed: list[Setting], answered: pd.DataFrame) -> Page:
    """Return the report; sections that are None and parts without a section are left out.

    Raises:
        ResultsError: a table that the report shows is malformed.
    """
    predicted, note = outputs(results), overlap_note(results)
    overlap = f" {note}" if note else ""  # at the end of the caption of every table with scores on test
    parts: Mapping[str, list[Section | None]] = {
        "What to do": [recommendations_section(results, confirmed, answered)],
        "Comparisons": [
            *factor_sections(results, confirmed, answered, overlap),
            path_section(results, confirmed),
            doubt_section(results, confirmed),
            published_section(results, predicted, overlap),
        ],
        "Curves": [
            learning_section(results, confirmed),
            *data_size_sections(results, confirmed, overlap),
            depth_section(results, confirmed),
            *strength_sections(results, confirmed),
        ],
        "The winner": [
            winner_section(results, confirmed, overlap),
            examples_section(results, confirmed),
            mistakes_section(results, confirmed, overlap),
            suspects_section(results, confirmed),
            metrics_section(results, confirmed, predicted, overlap),
        ],
        "Beside the winner": [
            ensembles_section(results, confirmed, predicted, overlap),
            *neighbour_sections(results, overlap),
        ],
        "Method and caveats": [
            caveats_section(results, confirmed),
            search_section(results),
            decisions_section(results),
            control_section(results, confirmed),
            sanity_section(results, confirmed),
            plan_section(results),
            trials_section(results),
        ],
    }
    shown = {title: [section for section in sections if section is not None] for title, sections in parts.items()}
    return Page(
        title=plain(results.study["name"]),
        dataset=plain(results.study.get("dataset", "")),
        question=plain(results.study["question"]),
        notes=[*openings_notes(results, confirmed, answered), *progress_notes(results, confirmed)],
        parts=[Part(title, sections) for title, sections in shown.items() if sections],
    )
