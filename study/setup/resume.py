"""--resume: the study that a folder holds goes on as it began, perhaps extended, or one line says why not."""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from study.design.load import Loaded
from study.design.plan import search_plan
from study.design.settings import Base
from study.estimates.cost_inputs import cost_inputs
from study.estimates.resources import Resources
from study.estimates.sharing import worth_storing
from study.persistence import ledger, storage
from study.results import MANIFEST_FILE, STUDY_FILE
from study.setup import provenance
from study.setup.prepare import Prepared, as_asked, check_folders, check_pictures, metric_for, weight_hashes
from study.setup.study_json import absolute, definition, plan_hash, read_identity
from study.spec import Study
from study.writing import write_json
from trainables.errors import InputError
from trainables.place import Place


def as_before(chosen: argparse.Namespace, out: Path) -> argparse.Namespace:
    """The flags, with the resources of a trial as they were where nothing is said of them."""
    before = Resources(**read_identity(out)["resources"])
    known = {"cpus_per_trial": before.cpus, "gpus_per_trial": before.gpus, "workers_per_trial": before.workers}
    given = {name: value for name in known if (value := getattr(chosen, name)) is not None}
    return argparse.Namespace(**vars(chosen) | known | given)


def go_on(
    loaded: Loaded,
    chosen: argparse.Namespace,
    resources: Resources,
    out: Path,
    before_writing: Callable[[], None] = lambda: None,
) -> tuple[Prepared, dict[str, Any]]:
    """The study that `out` holds, perhaps extended, and study.json's content.

    Raises:
        InputError: its definition or a flag that changes results is not what it was.
    """
    known = read_identity(out)
    base = Base(**known["base"])
    study = _as_begun(known, loaded, chosen)
    manifest = _manifest(out / MANIFEST_FILE)
    _check_same(known, loaded, study, manifest)
    _check_flags(known, loaded, study, chosen, resources, base)
    place = Place(
        manifest=(out / MANIFEST_FILE).absolute(),
        data=(chosen.data or Path(known["place"]["data"])).absolute(),
        cache=chosen.cache.absolute(),
        cache_gib=chosen.cache_gib,
        weights=_weights_folder(chosen.weights, known["place"]["weights"]),
    )
    _check_still_there(study, base, place, manifest)
    inputs = cost_inputs(study, manifest, base, resources, place, not chosen.no_sharing)
    place = replace(place, stored=worth_storing(study, inputs, base.study_seed))
    prepared = Prepared(
        known["name"], study, manifest, base, place, chosen.test, out, inputs, declared=loaded.study.budget
    )
    before_writing()
    return prepared, _extended(known, study, base, out)


def _as_begun(known: dict[str, Any], loaded: Loaded, chosen: argparse.Namespace) -> Study:
    """The study's file under the flags that it began with, and under what may grow."""
    budget = known["budget"]
    begun = {"published": known["goal"] == "published", "epochs": budget["epochs"]}
    begun["weights"] = "none" if known["base"]["weights"] == "none" else None
    begun |= {name: getattr(chosen, name) or budget[name] for name in ("trials", "seeds")}
    try:
        return as_asked(loaded.study, argparse.Namespace(**vars(chosen) | begun))
    except InputError as problem:
        raise InputError(f"Study {loaded.name!r} does not go on as it began: {problem}") from None


def _check_same(known: dict[str, Any], loaded: Loaded, study: Study, manifest: pd.DataFrame) -> None:
    """Refuse an edit of the study's file, and name it."""
    now = json.loads(json.dumps(definition(study))) | {"metric": study.metric or metric_for(manifest)}
    now["declared_budget"] = asdict(loaded.study.budget)
    for part in now:
        for name, old, new in _differences(part, known.get(part), now[part]):
            raise InputError(
                f"A study goes on as it began, but the {name} of {loaded.name!r} differs from study.json: choose a new "
                f"--out for the changed study, or put it back (it was {old} and is {new})."
            )


# A part of study.json, and what one of its entries is called.
_ENTRIES = {
    "factors": "factor",
    "conditional": "condition of factor",
    "nuisances": "nuisance",
    "fixed": "fixed",
    "published": "published configuration",
    "declared_budget": "budget's",
}


def _differences(part: str, before: Any, now: Any) -> Iterator[tuple[str, str, str]]:
    """What of a part is another: its name, as it was, and as it is."""
    if part == "published":
        before, now = ({f"{one['name']}, {one['metric']}": one for one in rows} for rows in (before, now))
    if part not in _ENTRIES or not isinstance(before, dict):
        if before != now and part != "declared_budget":  # which earlier versions did not record
            yield part.replace("_", " "), _said(before), _said(now)
        return
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name, _ABSENT), now.get(name, _ABSENT)
        if old != new:
            if isinstance(old, dict) and isinstance(new, dict):
                old, new = ({key: each.get(key) for key in new if old.get(key) != new[key]} for each in (old, new))
            yield f"{_ENTRIES[part]} {name!r}", _said(old), _said(new)
    if part in ("factors", "nuisances") and list(before) != list(now):  # which the plan follows
        yield f"order of {part}", ", ".join(before), ", ".join(now)


_ABSENT = "not there"


def _said(value: Any) -> str:
    if isinstance(value, list) and not any(isinstance(each, dict) for each in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _check_flags(
    known: dict[str, Any], loaded: Loaded, study: Study, chosen: argparse.Namespace, resources: Resources, base: Base
) -> None:
    epochs = chosen.epochs
    if epochs is not None and known["goal"] == "published":  # more than the longest configuration has change nothing
        epochs = loaded.study.as_published(epochs).budget.epochs
    start = "none" if chosen.weights == "none" else "pretrained" if chosen.weights else None
    flags = [
        ("--epochs", epochs, known["budget"]["epochs"]),
        ("--seed", chosen.seed, known["seed"]),
        ("--hours", chosen.hours, known["hours"]),
        ("--test", absolute(chosen.test), known["place"]["test"]),
        ("--weights", start, base.weights),
        ("--published", chosen.published or None, known["goal"] == "published"),
        ("--cpus-per-trial", chosen.cpus_per_trial, base.threads * base.workers),
        ("--workers-per-trial", chosen.workers_per_trial, base.workers),
    ]
    for flag, given, recorded in flags:
        if given is not None and given != recorded:
            raise InputError(f"A study goes on as it began, with {flag} {recorded}, but got {given}: leave it out.")
    if (resources.gpus > 0) != (base.device == "cuda"):
        raise InputError(f"The study began on {base.device}: it goes on there only, or its rows would differ.")
    for name in ("trials", "seeds"):
        given, recorded = getattr(study.budget, name), known["budget"][name]
        if given < recorded:
            raise InputError(f"--{name} may only grow: the study has {recorded}, but got {given}.")


def _check_still_there(study: Study, base: Base, place: Place, manifest: pd.DataFrame) -> None:
    check_folders(place.weights, place.cache)
    check_pictures(manifest, place.data)
    for backbone, seen in weight_hashes(study, place.weights).items():
        if seen != base.weights_hashes[backbone]:
            raise InputError(f"The weights of {backbone} are not those the study began with: name them by --weights.")


def _extended(known: dict[str, Any], study: Study, base: Base, out: Path) -> dict[str, Any]:
    """Add what a longer plan adds to the ledger, and say so in study.json."""
    if study.goal != "best":
        _mend_plan(known, study, base, out)
    for name in ("trials", "seeds"):
        given, recorded = getattr(study.budget, name), known["budget"][name]
        if given > recorded:
            known["deviations"].append(f"{name} extended from {recorded} to {given} after the first plan")
            known["budget"][name] = given
    known["deviations"] += [each for each in _elsewhere(known) if each not in known["deviations"]]
    # First, so that a resume after a crash in between makes up for the plan.
    ledger.write_identity(out, known)
    write_json(known, out / STUDY_FILE)
    storage.push(out)
    if study.goal != "best":
        plan, planned = search_plan(study, study.budget.trials, base.study_seed), ledger.read_plan(out)
        if len(plan) > len(planned):
            ledger.write_plan(out, plan[len(planned) :])
    return known


def _manifest(file: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as problem:  # ArrowInvalid is a ValueError
        raise InputError(f"{file} is torn: put a copy of it back, or choose another --out.") from problem


def _mend_plan(known: dict[str, Any], study: Study, base: Base, out: Path) -> None:
    """A torn plan that nothing has extended is drawn again; its hash tells that it is the same."""
    try:
        ledger.read_plan(out)
    except InputError:
        plan = search_plan(study, known["budget"]["trials"], base.study_seed)
        if plan_hash(plan) != known["plan_hash"]:
            raise
        ledger.write_plan(out, plan, number=0)


def _elsewhere(known: dict[str, Any]) -> list[str]:
    """What is not as it was when the study began, where it goes on now: code, packages, machine."""
    began, now = known["hardware"], provenance.hardware()
    pairs = [
        *((name, known["versions"].get(name), version) for name, version in provenance.versions().items()),
        ("the code's revision", known["revision"], provenance.revision()),
        ("CPU count", began.get("cpus"), now["cpus"]),
        ("CPU", began.get("cpu"), now["cpu"]),
        ("GPUs", began.get("gpus"), now["gpus"]),
    ]
    return [f"went on with {name} {after}, begun with {before}" for name, before, after in pairs if before != after]


def _weights_folder(given: str | None, recorded: str | None) -> Path | None:
    folder = given if given not in (None, "none") else recorded
    return Path(folder).absolute() if folder else None
