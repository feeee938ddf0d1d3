"""The decisions that a study took while it ran, as study.json lists them. Another program may write anything there."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from study.results import Results, level_text


@dataclass(frozen=True)
class Decision:
    """One entry of `decisions`, whose kinds study/study_record.py describes. Fields that its kind lacks are empty."""

    kind: str
    levels: Mapping[str, str]  # of the setting concerned, without factors that do not exist in it
    arm: str = ""
    trial: str = ""
    nuisance: str = ""
    end: str = ""  # of the nuisance's range: "low" or "high"
    value: float = math.nan  # that did best
    before: float = math.nan  # ends of the range
    after: float = math.nan
    gain: float = math.nan  # on validation, by the study's metric
    seeds: int = 0

    def concerns(self, levels: Mapping[str, str]) -> bool:
        """Whether the decision is about the setting with these levels; empty ones do not exist in it."""
        return self.levels == {factor: level for factor, level in levels.items() if level}


_EDGE = {"nuisance", "end", "value"}
_NEEDS = {
    "base": {"levels"},
    "widen": {"levels", "before", "after"} | _EDGE,
    "flat": {"levels"} | _EDGE,
    "behind": {"levels"} | _EDGE,
    "at end": {"levels"} | _EDGE,
    "move": {"levels"},
    "combine": {"levels"},
    "seeds": {"seeds"},
    "recommend": {"levels", "arm"},
}


def decisions(results: Results) -> list[Decision]:
    """Return the decisions in the order they were taken, without entries that are incomplete or of another kind."""
    listed: Any = results.study.get("decisions")
    return [_decision(entry) for entry in listed if _is_complete(entry)] if isinstance(listed, list) else []


def recommended(results: Results) -> Decision | None:
    """Return the decision that names the recommended setting; None if the study took none."""
    return next((decision for decision in reversed(decisions(results)) if decision.kind == "recommend"), None)


def _decision(entry: Mapping[str, Any]) -> Decision:
    def text(name: str) -> str:
        return value if _is_text(value := entry.get(name)) else ""

    def number(name: str) -> float:
        return float(value) if is_number(value := entry.get(name)) else math.nan

    return Decision(
        kind=entry["kind"],
        levels=dict(_levels(levels)) if _are_levels(levels := entry.get("levels")) else {},
        arm=text("arm"),
        trial=text("trial"),
        nuisance=text("nuisance"),
        end=text("end"),
        value=number("value"),
        before=number("before"),
        after=number("after"),
        gain=number("gain"),
        seeds=int(entry["seeds"]) if is_number(entry.get("seeds")) else 0,
    )


def _levels(levels: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the levels as text, without those that are missing."""
    texts = ((factor, level_text(level)) for factor, level in levels.items())
    return ((factor, text) for factor, text in texts if text)


def _is_complete(entry: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether an entry has all that its kind needs, in the right types."""
    if not isinstance(entry, Mapping) or not isinstance(kind := entry.get("kind"), str) or kind not in _NEEDS:
        return False
    return all(_IS_RIGHT[name](entry.get(name)) for name in _NEEDS[kind])


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str)


def _are_levels(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping) and all(isinstance(level, str | int | float | None) for level in value.values())


_IS_RIGHT = {
    "levels": _are_levels,
    "arm": _is_text,
    "nuisance": _is_text,
    "end": lambda end: end in ("low", "high"),
    "value": is_number,
    "before": is_number,
    "after": is_number,
    "seeds": is_number,
}
