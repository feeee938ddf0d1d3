"""The report's section on the decisions that a study took while it ran, in order."""

from collections.abc import Iterable, Iterator, Mapping
from math import isnan

from analysis.confirmed.answers import margin, margin_text
from analysis.confirmed.objective import objective
from analysis.confirmed.settings import Setting, setting_text
from analysis.decisions import Decision, decisions
from analysis.layout.page import Section
from analysis.layout.text import number, points
from study.results import Results
from study.writing import count

_ENOUGH = ("flat", "behind")  # decisions by which a range is wide enough
_MOST_SETTINGS = 3  # named in one sentence


def decisions_section(results: Results) -> Section | None:
    """Return the section; None if the study took no decisions."""
    taken = decisions(results)
    if not taken:
        return None
    introduction = (
        "Every decision was recorded before it took effect, and rests on validation alone. After each round of the "
        "refinement, a range widens where a setting did best at or near its end, if that could change an answer; "
        "otherwise the base, the setting around which levels are compared, moves where another setting does better."
    )
    return Section("Decisions", [introduction], points=list(_sentences(results, taken)))


def end_sentences(results: Results, compared: Iterable[Setting], factor: str) -> list[str]:
    """Return a sentence for each level that did best at the end of a range that did not have to widen."""
    return [
        f"{setting.levels[factor] or 'none'} did best with {decision.nuisance} {number(decision.value)}, near the "
        f"{decision.end} end of its range; {_why_enough(results, decision.kind)}."
        for setting in compared
        for decision in decisions(results)
        if decision.kind in _ENOUGH and decision.concerns(setting.levels)
    ]


def _why_enough(results: Results, kind: str) -> str:
    """Say why a range is wide enough although a setting did best at its end."""
    if kind == "flat":
        return f"the response is flat there: it gains at most {margin_text(margin(results))}, or no more than chance"
    return "going on may gain something, but another level is too far ahead for that to change who leads"


def _sentences(results: Results, taken: list[Decision]) -> Iterator[str]:
    combined: Mapping[str, str] | None = None
    for step in taken:
        if step.kind in (*_ENOUGH, "at end"):
            alike = [s for s in taken if (s.kind, s.nuisance, s.end) == (step.kind, step.nuisance, step.end)]
            if step is alike[0]:
                yield _stayed(results, alike)
            continue
        if step.kind == "combine":
            combined = step.levels
        yield _sentence(results, step, combined)


def _stayed(results: Results, steps: list[Decision]) -> str:
    """Say why the end of a range stayed as it is although settings did best there."""
    kind, nuisance, end = steps[0].kind, steps[0].nuisance, steps[0].end
    named = "; ".join(setting_text(step.levels) for step in steps[:_MOST_SETTINGS])
    more = f"; and {count(len(steps) - _MOST_SETTINGS, 'other')}" if len(steps) > _MOST_SETTINGS else ""
    best = f"{count(len(steps), 'setting')} did best near the {end} end of {nuisance} ({named}{more})."
    if kind in _ENOUGH:
        return f"{best} The range stayed; {_why_enough(results, kind)}."
    whose = "its" if len(steps) == 1 else "their"
    return f"{best} The range could not be widened again, so {whose} comparisons are refused."


def _sentence(results: Results, step: Decision, combined: Mapping[str, str] | None) -> str:
    setting = setting_text(step.levels)
    if step.kind == "base":
        trial = f" of {step.trial}" if step.trial else ""
        return f"Comparisons began around the setting{trial}, the search's best: {setting}."
    if step.kind == "widen":
        return (
            f"The range of {step.nuisance} was widened: its {step.end} end moved from {number(step.before)} to "
            f"{number(step.after)}, because {setting} did best at {number(step.value)}. All settings with this "
            "nuisance got the same new points."
        )
    if step.kind == "move":
        return f"The base moved to {setting}, {_gain(results, step)}."
    if step.kind == "combine":
        return f"The cheapest levels that did as well on validation as the best setting were combined: {setting}."
    if step.kind == "seeds":
        return f"Settings whose comparison more seeds could settle were confirmed with {count(step.seeds, 'seed')}."
    if combined is None:
        return f"Recommended: {setting}, the best confirmed setting on validation."
    if step.levels == combined:
        allowed = margin_text(margin(results))
        return f"Recommended: {setting}. The combination was not worse than the best setting by more than {allowed}."
    return f"Recommended: {setting}. The combination was not shown to be as good as this, the best on validation."


def _gain(results: Results, step: Decision) -> str:
    if isnan(step.gain):
        return "because no trial of the earlier base completed"
    metric = objective(results)
    if metric.is_accuracy:
        return f"whose best trial was {points(step.gain)} points more accurate on validation"
    return f"whose best trial was better by {number(step.gain)} in {metric.label} on validation"
