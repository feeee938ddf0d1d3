"""Caveats: the assumptions and the limits of the results."""

import shlex
from collections.abc import Mapping
from itertools import pairwise

from analysis.confirmed import images
from analysis.confirmed.objective import objective
from analysis.confirmed.settings import TEST, Setting, test_folds
from analysis.findings.openings import opened_once, openings_sentence
from analysis.findings.uncertainty import FEW_PICTURES
from analysis.layout.page import Section
from analysis.layout.text import number, value_text
from analysis.statistics.inference import SEEDS_FOR_A_CLAIM
from study.results import Results, level_text
from study.writing import count

# The overlap between the pretraining images of the backbones and the images of the study, as study.json declares it.
_OVERLAPS = {
    "full": "the backbone was pretrained on these images: full overlap",
    "partial": "the backbone was pretrained on some of these images: partial overlap",
    "unknown": "it is unknown whether the backbone was pretrained on these images",
}


def overlap_note(results: Results) -> str:
    """Return the note that accompanies every test score; empty if there is no overlap."""
    overlap = results.study.get("pretraining_overlap")
    if overlap in (None, "none"):
        return ""
    note = _OVERLAPS.get(str(overlap), _OVERLAPS["unknown"])
    return f"{note[0].upper()}{note[1:]}."


def caveats_section(results: Results, confirmed: list[Setting]) -> Section:
    dropped, files = int(images.dropped(results)["files"].sum()), count(len(results.manifest), "file")
    failed, trials = int((results.trials["status"] == "failed").sum()), count(len(results.trials), "trial")
    caveats = [
        *(_in_turn(results) if test_folds(results) else [_chosen(results), _few_pictures(results)]),
        _fixed(results),
        _few_seeds(results, confirmed),
        overlap_note(results),
        f"{number(dropped)} of {files} were dropped, for the reasons below." if dropped else "No file was dropped.",
        f"{number(failed)} of {trials} failed, for the reasons below." if failed else "",
    ]
    return Section("Caveats", points=list(filter(None, caveats)))


def _chosen(results: Results) -> str:
    sizes = images.folds(results).set_index("fold")["pictures"]
    val, test = (number(sizes.get(fold, 0)) for fold in ("val", TEST))
    what = "Epochs" if set(results.trials["phase"]) == {"published"} else "Epochs, settings and the winner"
    selected = (
        f"{what} were selected by {objective(results).label} on validation ({val} images), so validation scores are "
        "optimistic."
    )
    if opened_once(results):
        return f"{selected} Nothing was selected on the {test} test images: quote test accuracy."
    return f"{selected} Quote accuracy on the {test} test images. {openings_sentence(results)}"


def _in_turn(results: Results) -> list[str]:
    """Return how cross-validation tests all images, what was selected on which images, and the remaining bias."""
    models, kept = test_folds(results), results.manifest[results.manifest["keep"].eq(True)]
    return [
        f"A seed is a round of cross-validation: the {count(len(kept), 'image')} are divided into {models} test "
        f"folds, by class and in whole groups of duplicates, and {models} models are trained, each tested on one "
        "fold. Every image is tested once per round: quote test accuracy.",
        "Selection is nested: learning rates, strengths and epochs were selected for each model on its own training "
        "and validation images, so a level may use different values in different folds. A confirmed model is its "
        "fold's best refined one, trained again, so its validation accuracy is optimistic.",
        f"The winner's levels were selected by {objective(results).label} on validation images that are test images of "
        "other folds. They are held fixed for both levels of every comparison, which favors neither; the winner's "
        "own accuracy may be slightly optimistic.",
        "Intervals are for new rounds and new images from the same source. All rounds share their images, so they "
        "differ less than new datasets would. The correction of Nadeau and Bengio (2003) allows for this; no exact "
        "one exists (Bengio and Grandvalet 2004).",
    ]


def _few_pictures(results: Results) -> str:
    """Suggest test folds for a small test set, unless the study rules them out."""
    n = int((results.manifest["keep"].eq(True) & (results.manifest["fold"] == TEST)).sum())
    study, place = results.study, results.study.get("place")
    own_test = place.get("test") if isinstance(place, Mapping) else None  # --test excludes test folds
    if not 0 < n < FEW_PICTURES or study.get("goal", "factors") != "factors" or study.get("retrain") or own_test:
        return ""
    return (
        f"The test fold has {count(n, 'image')}. With fewer than {number(FEW_PICTURES)}, most differences between "
        "good levels cannot be detected. --test-folds 5 tests on all images in turn, which narrows the "
        "intervals but trains many more models."
    )


def _fixed(results: Results) -> str:
    """Return the fixed values as the trials had them, which may differ from those that the study declares."""
    declared = results.study.get("fixed")
    if not isinstance(declared, Mapping) or not declared:
        return "The study does not record what was held fixed."
    values = {str(name): _values(results, str(name)) or [value_text(value)] for name, value in declared.items()}
    # Flags that apply to all trials. Pretrained weights are the default and are not listed.
    held_too = {"epochs": _values(results, "epochs"), "weights": _values(results, "weights")}
    values |= {
        name: ran
        for name, ran in held_too.items()
        if len(ran) == 1 and name not in values | results.factors and ran != ["pretrained"]
    }
    fixed = ", ".join(f"{name} {ran[0]}" for name, ran in values.items() if len(ran) == 1)
    varied = "; ".join(f"{name} {', '.join(ran)}" for name, ran in values.items() if len(ran) > 1)
    sentence = f"All results hold for these fixed values: {fixed or 'none recorded'}."
    return f"{sentence} Declared as fixed but varied: {varied}." if varied else sentence


def _values(results: Results, name: str) -> list[str]:
    """Return the values of a hyperparameter in the trials behind the report's numbers, where it exists."""
    trials = results.trials
    if name not in trials:
        return []
    shown = trials[trials["phase"].isin(["confirm", "published"]) & (trials["status"] == "completed")]
    texts = (shown if len(shown) else trials)[name].map(level_text)
    return [text for text in dict.fromkeys(texts) if text]


def _few_seeds(results: Results, confirmed: list[Setting]) -> str:
    fewest = min((len(set(setting.seeds)) for setting in confirmed), default=SEEDS_FOR_A_CLAIM)
    if fewest >= SEEDS_FOR_A_CLAIM:
        return ""
    which = "All" if max(len(set(setting.seeds)) for setting in confirmed) == fewest else "Some"
    few = f"{which} settings have only {count(fewest, 'seed')}; nothing is claimed below {SEEDS_FOR_A_CLAIM}."
    return f"{few} For claims, run {_with_seeds(results, SEEDS_FOR_A_CLAIM)}"


def _with_seeds(results: Results, seeds: int) -> str:
    """Return the study's own command, continued with this many seeds; only the flags if it is not recorded."""
    command, more = results.study.get("command"), ["--resume", "--seeds", str(seeds)]
    try:
        words = shlex.split(command) if isinstance(command, str) else []
    except ValueError:
        words = []
    if words[1:3] != ["-m", "study.run"]:
        return f"it again with {' '.join(more)}"
    replaced = ("--seeds", "--hours")
    kept = [
        word
        for before, word in pairwise(["", *words])
        if before not in replaced
        and word not in (*replaced, "--resume")
        and not word.startswith(("--seeds=", "--hours="))
    ]
    return shlex.join([*kept, *more])
