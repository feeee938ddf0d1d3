"""What was found, in plain sentences."""

from collections.abc import Mapping

import pandas as pd

from analysis.confirmed.answers import BETTER_A, BETTER_B, EQUIVALENT, REFUSED
from analysis.confirmed.objective import objective
from analysis.confirmed.openings import opened_once, openings
from analysis.confirmed.pictures import baselines
from analysis.confirmed.settings import Setting
from analysis.confirmed.tables import scores
from analysis.layout.text import count, decimals, number, percent, points
from analysis.statistics.inference import MIN_SEEDS, SEEDS_FOR_A_CLAIM
from study.results import Results

LIKELY = "95\u00a0% interval"  # not to be broken over two lines


# How far the images that the backbones were pretrained on are those of the study, as study.json says it.
_OVERLAPS = {
    "full": "the backbone's pretraining has seen these very images: full overlap",
    "partial": "the backbone's pretraining has seen some of these images: partial overlap",
    "unknown": "whether the backbone's pretraining has seen these images is unknown",
}


def overlap_note(results: Results) -> str:
    """What stands beside every score on test, as a sentence; empty where there is no overlap."""
    overlap = results.study.get("pretraining_overlap")
    if overlap in (None, "none"):
        return ""
    note = _OVERLAPS.get(str(overlap), _OVERLAPS["unknown"])
    return f"{note[0].upper()}{note[1:]}."


def setting_text(levels: Mapping[str, str]) -> str:
    return ", ".join(f"{factor} {level}" for factor, level in levels.items() if level)


def headline(results: Results, best: Setting) -> str:
    """The winner and how well it does, in one or two sentences."""
    score = scores(results, best)
    chosen = f"The best setting found is {setting_text(best.levels)}."
    seeds = count(len(best.seeds), "seed") + (f" of {best.models} models each" if best.models > 1 else "")
    if not best.tested:
        return f"{chosen} On validation it reaches {percent(score['val_accuracy'])}, mean of {seeds}."
    of_what = "new seeds and new images" if len(best.seeds) >= MIN_SEEDS else "new images, not for new seeds"
    return (
        f"{chosen} It names {percent(score['test_accuracy'])} of the {number(best.correct.shape[1])} test "
        f"images right ({LIKELY} {100 * score['test_low']:.1f} to {percent(score['test_high'])} for "
        f"{of_what}; mean of {seeds})."
    )


def winner_sentences(results: Results, best: Setting) -> list[str]:
    """The winner, how well it does on images nobody chose by, and what guessing would reach."""
    if not best.tested:
        said = [headline(results, best)]
        return said if objective(results).is_accuracy else [*said, *_chosen_by(results, best)]
    chance, frequent = baselines(results)
    return [
        headline(results, best),
        f"Guessing would reach {percent(chance)}, always naming the most frequent class {percent(frequent)}.",
        *_chosen_by(results, best),
        *_caution(results),
    ]


def _caution(results: Results) -> list[str]:
    note = overlap_note(results)
    if not note:
        return []
    return [f"Caution: {note[0].lower()}{note[1:]} What was seen before is recalled, which says less about transfer."]


def _chosen_by(results: Results, best: Setting) -> list[str]:
    chosen_by = objective(results)
    if best.models > 1:
        return [
            f"Its levels were chosen by {chosen_by.said} on validation, on images that test in other folds, too, "
            "which may flatter it a little; what was tuned was chosen for each model without its test images."
        ]
    no_say = "; the test images had no say in it" if opened_once(results) else ""
    if chosen_by.is_accuracy:
        return [f"It was chosen on validation{no_say}."]
    value = best.trials[chosen_by.column].mean()
    said = decimals(value) if chosen_by.metric in ("val_log_loss", "val_auroc") else percent(value)
    return [
        f"It was chosen by its {chosen_by.said} on validation, {said}, mean over seeds{no_say}. The comparisons of "
        "levels below are of accuracy."
    ]


def answer_sentence(answer: Mapping, allowed: float, pairs: int) -> str:
    """One row of answers.csv in words; `pairs` of levels of its factor were compared."""
    a, b = answer["level_a"] or "none", answer["level_b"] or "none"
    if answer["verdict"].startswith(REFUSED):
        return f"{a} and {b} were not compared: {answer['verdict'].removeprefix(REFUSED)}."
    if answer["verdict"] in (BETTER_A, BETTER_B):
        return _better(answer, a, b)
    interval = f"{points(answer['low'])} to {points(answer['high'])}"
    measured = f"{a} minus {b}: {points(answer['difference'])} points, {LIKELY} {interval}"
    if answer["verdict"] == EQUIVALENT:
        return (
            f"{a} and {b} do equally well within the margin of {margin_text(allowed)} ({measured}; "
            "the 90\u00a0% interval, which decides this, lies within)."
        )
    if answer["low"] <= 0 <= answer["high"]:
        return f"No evidence that {a} and {b} differ ({measured}). {_more(answer)}"
    return f"{_leading(answer, a, b)} ({measured}), but {_why_not(answer, pairs)} {_more(answer)}"


def _leading(answer: Mapping, a: str, b: str) -> str:
    return f"{a} came out ahead of {b}" if answer["difference"] > 0 else f"{b} came out ahead of {a}"


def _why_not(answer: Mapping, pairs: int) -> str:
    """Why an interval that leaves out zero still settles nothing."""
    if answer["seeds"] < SEEDS_FOR_A_CLAIM:
        return f"{answer['seeds']:.0f} seeds are too few for a claim, which takes {SEEDS_FOR_A_CLAIM}."
    return f"as one of {pairs} comparisons this is no evidence, though alone it would be."


def _better(answer: Mapping, a: str, b: str) -> str:
    """The better level first, so that the difference reads as a gain."""
    sign, chance = 1, answer["probability_a_better"]
    low, high = answer["low"], answer["high"]
    if answer["verdict"] == BETTER_B:
        a, b, sign, chance, low, high = b, a, -1, 1 - chance, -high, -low
    return (
        f"{a} beats {b} by {points(sign * answer['difference'])} points "
        f"({LIKELY} {points(low)} to {points(high)}). "
        f"A new run of {a} would beat a new run of {b} with probability {_probability(chance)}."
    )


def _probability(chance: float) -> str:
    return "over 0.99" if chance > 0.99 else f"{chance:.2f}"


def margin_text(allowed: float) -> str:
    return "1 point" if allowed == 0.01 else f"{100 * allowed:.3g} points"


def _more(answer: Mapping) -> str:
    """What would settle a pair that is undecided."""
    if answer["difference"] == 0:
        return "Nothing was measured that more seeds or more test images could show."
    needed, pictures = answer["seeds_needed"], answer.get("items_needed")
    if pd.notna(needed):
        return f"If it is real, about {count(int(needed), 'seed')} would show it."
    if pd.isna(pictures):
        return "If it is real, neither more seeds nor more test images alone would show it, only many more of both."
    few = answer["seeds"] < SEEDS_FOR_A_CLAIM
    with_seeds = f" with {SEEDS_FOR_A_CLAIM} seeds" if few else ""
    return (
        f"If it is real, more seeds would not show it, only more test images: about {number(pictures)} in place of "
        f"{number(answer['items'])}{with_seeds}."
    )


def openings_sentence(results: Results) -> str:
    """How often the test fold was opened: the one place that says it."""
    times = openings(results)
    if times is None:
        return "How often the test images were looked at is not recorded."
    if times == 0:
        return "The test images have not been looked at."
    if times == 1:
        return "The test images were looked at once, at the end."
    return f"The test images were looked at {times} times: what was decided after the first look saw them."
