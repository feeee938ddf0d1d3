"""The report's sections on how sure the winner's accuracy is, and on labels that may be wrong."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.confirmed.mislabelled import Suspects, suspects
from analysis.confirmed.settings import Setting, test_folds, winner
from analysis.confirmed.variance import (
    NOW,
    ONE_SEED,
    PICTURES,
    PICTURES_MORE,
    REPEAT,
    TUNED,
    TWICE,
    VALIDATED,
    Resolution,
    estimated,
    precision,
    renewed,
    resolution,
    sources,
)
from analysis.layout.page import Gallery, Section, Table, table
from analysis.layout.text import count, number, percent, points
from analysis.layout.thumbnails import suspect_thumbnail
from study.results import Results

FEW_PICTURES = 1000  # on test; with fewer, most differences between good settings are too small to be seen
SHOWN_SUSPECTS = 15


def doubt_section(results: Results, found: list[Setting]) -> Section | None:
    """Where the doubt comes from, what would lessen it, what stays unresolved; missing where nothing is known of it."""
    best = winner(found)
    estimate, unresolved = estimated(results, best), _unresolved(results, resolution(results, found))
    if best is None or estimate is None:
        return Section("How sure this is", unresolved) if unresolved else None
    luck, more = sources(results, best), precision(estimate)
    return Section(
        "How sure this is",
        [_sharpened(luck, more), _renewed_together(results, best, luck), *unresolved],
        tables=[_luck(luck), _more(more)],
    )


def _sharpened(luck: pd.DataFrame, more: pd.DataFrame) -> str:
    shares = luck.set_index("source")["share"]
    if shares[[REPEAT, PICTURES]].isna().any():
        return "No seed and no image made any difference to the winner's accuracy on test."
    return (
        f"Of the doubt about the winner's accuracy on test, {percent(shares[REPEAT])} comes from the repeats and "
        f"{percent(shares[PICTURES])} from the choice of test images (shares of the variance). "
        f"{_narrowed(more.set_index('what'), shares[REPEAT] > shares[PICTURES])}"
    )


def _narrowed(more: pd.DataFrame, seeds_dominate: bool) -> str:
    """What would narrow the interval, and by how much; a plan that leaves it as wide as it is said to be is none."""
    named = {ONE_SEED: "one more seed", TWICE: "twice as many seeds", PICTURES_MORE: PICTURES_MORE}
    half = (100 * more["half_width"]).map("{:.2f}".format)
    now = f"the 95\u00a0% interval, now plus or minus {half[NOW]} points,"
    helps = [what for what in named if more.loc[what, "narrower"]]
    idle = [named[what] for what in named if what not in helps]
    if not helps:
        many = "many more seeds" if seeds_dominate else "many more test images"
        return f"Neither {_either(idle)} would narrow {now} only {many}."
    would = [f"{half[what]} with {named[what]}" for what in helps]
    said = f"T{now[1:]} would have {_both(would)}"
    if len(helps) > 1:
        said += f"; of these {named[more.loc[helps, 'half_width'].idxmin()]} would narrow it most"
    return f"{said}. {_sentence(idle)}" if idle else f"{said}."


def _both(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _either(parts: list[str]) -> str:
    return " nor ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _sentence(idle: list[str]) -> str:
    which = _both(idle)
    return f"{which[0].upper()}{which[1:]} would not narrow it{', each alone' if len(idle) > 1 else ''}."


def _renewed_together(results: Results, best: Setting, luck: pd.DataFrame) -> str:
    spread = luck.set_index("source")["standard_deviation"].map(points)
    together = (
        "A repeat renews initialization, order, views and the partition into training and validation together, as "
        "Bouthillier et al. (2021) advise; this study cannot separate their shares."
        if renewed(results, best)
        else "A repeat renews initialization, order and views together; this study cannot separate their shares. The "
        "validation images were the same in every repeat."
    )
    folds = _folds(results, best)
    shared = f" {folds} repeats at a time are the folds of one partition." if folds else ""
    if best.models > 1:
        shared = f" Here a repeat is a round of {best.models} models, and renews which of them tests which image, too."
    said = f"From repeat to repeat the accuracy on test has a standard deviation of {spread[REPEAT]} points."
    return f"{together}{shared} {said}"


def _folds(results: Results, best: Setting) -> int | None:
    """As the winner's trials have them; of a folder whose trials do not tell, as the study declares them."""
    if "folds" in best.trials:
        ran = pd.to_numeric(best.trials["folds"], errors="coerce").dropna().unique()
        return int(ran[0]) if len(ran) == 1 else None
    budget = results.study.get("budget")
    folds = budget.get("folds") if isinstance(budget, Mapping) else None
    return folds if isinstance(folds, int) else None


def _luck(luck: pd.DataFrame) -> Table:
    named = {
        REPEAT: "the repeat: all that a seed renews",
        PICTURES: "which images are for testing",
        VALIDATED: "which images validate: spread on validation beyond that on test",
        TUNED: "nuisance luck: which rates and strengths were tried, on validation",
    }
    unit = {REPEAT: "seed", PICTURES: "picture", VALIDATED: "seed", TUNED: "point"}
    shown = {
        "what varies": lambda row: named[row.source],
        "standard deviation in points": lambda row: (
            points(row.standard_deviation) if pd.notna(row.standard_deviation) else "unknown"
        ),
        "share of the doubt": lambda row: percent(row.share),
        "seen in": lambda row: count(int(row.n), unit[row.source]),
    }
    caption = (
        "Where the winner's accuracy gets its luck from. Share: of the variance of its mean on test. Nuisance luck: "
        "of the best of the points that were tried for the winner's setting, had these been drawn again (bootstrap)"
    )
    return table("variance", caption, luck, shown)


def _more(more: pd.DataFrame) -> Table:
    shown = {
        "plan": lambda row: row.what,
        "seeds": lambda row: number(row.seeds),
        "test images": lambda row: number(row.items),
        "plus or minus, in points": lambda row: (
            f"{100 * row.half_width:.2f}{'' if row.narrower or row.what == NOW else ', no narrower'}"
        ),
    }
    caption = (
        "What more seeds or images that vary like these would make of the 95 % interval of the winner's accuracy "
        "on test: half its width, with Hillis' degrees of freedom at each number of seeds"
    )
    return table("precision", caption, more, shown)


def _unresolved(results: Results, resolved: Resolution | None) -> list[str]:
    """The smallest difference that could be found: as it was, or as it was planned while nothing was compared."""
    planned = results.study.get("resolution")
    known = planned if isinstance(planned, Mapping) else {}
    numbers = [known.get(name) for name in ("difference", "seeds", "items")]
    said = []
    if all(isinstance(one, int | float) and np.isfinite(one) for one in numbers):
        difference, seeds, items = numbers
        said.append(
            f"Before the first trial, {number(seeds)} seeds and {number(items)} test images were expected to resolve "
            f"differences of about {points(difference)} points between two settings (80\u00a0% power)."
        )
    if resolved is None:
        return said
    reach = f", {points(resolved.least)} to {points(resolved.most)}" if resolved.pairs > 1 else ""
    few = resolved.items < FEW_PICTURES
    found = (
        f"As it turned out, {count(resolved.seeds, 'seed')} and {count(resolved.items, 'test picture')} find a "
        f"difference of {points(resolved.median)} points with 80\u00a0% power (median of "
        f"{count(resolved.pairs, 'pair')} with the winner{reach}; at the 5\u00a0% level, before any correction)."
    )
    caution = (
        f"With fewer than {number(FEW_PICTURES)} test images, smaller differences than that cannot be resolved here: "
        "no evidence of one is no evidence against it."
    )
    return [*said, found, *([caution] if few else [])]


def suspects_section(results: Results, found: list[Setting]) -> Section | None:
    """Missing where no model was shown an image that it had not trained on."""
    doubted = suspects(results, found)
    if not doubted.looked_at:
        return None
    title = "Labels to look at again"
    if doubted.frame.empty:
        seen = count(doubted.looked_at, "picture")
        return Section(title, [f"Of {seen}, none has a label that most of the winner's models contradict."])
    said = [_doubt_sentence(doubted), _caution(winner(found))]
    return Section(title, said, galleries=_gallery(results, doubted.frame), tables=[_suspects(results, doubted.frame)])


def _doubt_sentence(doubted: Suspects) -> str:
    return (
        f"Of {count(doubted.looked_at, 'picture')} that the winner's models saw without having trained on them, "
        f"{number(doubted.doubtful)} carry a label that these give less than one half, while most of them name one and "
        f"the same other class. In {number(doubted.confident)} of these that class is at least as probable as it is on "
        "average for images that carry it: what confident learning counts as wrong labels (Northcutt et al. 2021)."
    )


def _caution(best: Setting | None) -> str:
    hard = "Many of them may only be hard."
    if best is not None and best.tested:
        wrong = percent(1 - best.correct.to_numpy().mean())
        hard = f"The winner errs on {wrong} of the test images, so many of them may only be hard."
    return (
        f"{hard} Mend what is wrong for a study to come, not for this one: labels that were corrected where the winner "
        "disagrees flatter it."
    )


def _gallery(results: Results, frame: pd.DataFrame) -> list[Gallery]:
    shown = [
        suspect_thumbnail(
            results.out, row.item, f"{row.label_name}, by its label", row.suggested, row.suggested_probability
        )
        for row in frame.head(SHOWN_SUSPECTS).itertuples()
    ]
    there = [one for one in shown if one is not None]
    return [Gallery("What the winner's models say instead", there)] if there else []


def _suspects(results: Results, frame: pd.DataFrame) -> Table:
    shown = {
        "picture": lambda row: row.path if isinstance(row.path, str) else row.item,
        "its label": lambda row: row.label_name,
        "probability of it": lambda row: percent(row.probability),
        "named instead": lambda row: row.suggested,
        "by the winner's models": lambda row: f"{row.agree} of {row.models}",
    }
    if frame["others"].any():
        shown["by those of other settings"] = lambda row: f"{row.others_agree} of {row.others}"
    one, other = "a test image was seen by the model of every repeat", "another by those of the repeats that"
    if test_folds(results):
        one, other = "each image was tested by one model of every seed", "and seen by those that"
    caption = (
        "The images with the least probable labels, mean over the winner's models that did not train on them: "
        f"{one}, {other} validated on it"
    )
    return table("suspects", caption, frame, shown, most=SHOWN_SUSPECTS)
