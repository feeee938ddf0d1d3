"""study.json: what a study is, written before its first trial, and read when it goes on."""

import argparse
import hashlib
import json
import shutil
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from study.beginning import provenance
from study.beginning.dry_run import planned_resolution
from study.beginning.setup import Prepared, check_folders, check_pictures, from_scratch, weight_hashes, with_budget
from study.design.load import Loaded
from study.design.plan import Planned, search_plan
from study.design.settings import Base
from study.estimates.resources import Resources
from study.estimates.scale import keep_rates, scale_of
from study.estimates.sharing import worth_storing
from study.persistence import ledger, storage
from study.results import MANIFEST_FILE, STUDY_FILE, UNSEEN_FILE
from study.spec import Published, Study
from study.writing import write_json, write_table
from trainables.data.datasets import DATASETS
from trainables.errors import InputError
from trainables.place import Place

SKIPPED = "skipped"  # in place of what the gates found


def begin(
    prepared: Prepared, resources: Resources, command: str, hours: float | None, preflight: Any = SKIPPED
) -> dict[str, Any]:
    """Write the manifest, the plan and study.json; from here on the study exists. Gives study.json's content.

    `preflight` is what the gates found.
    """
    study, out = prepared.study, prepared.out
    if (out / STUDY_FILE).exists():
        raise InputError(f"--out {out} already holds a study, begun a moment ago: choose another.")
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / ledger.LEDGER, ignore_errors=True)  # of a study that was killed while it began
    write_table(prepared.manifest, out / MANIFEST_FILE)
    if prepared.unseen is not None and len(prepared.unseen):
        write_table(prepared.unseen, out / UNSEEN_FILE)
    plan = search_plan(study, study.budget.trials, prepared.base.study_seed) if study.goal != "best" else []
    ledger.write_plan(out, plan)
    identity = {
        "name": prepared.name,
        **definition(study),
        "budget": asdict(study.budget),
        "metric": prepared.base.metric,
        "pretraining_overlap": DATASETS[study.dataset].pretraining_overlap,
        "seed": prepared.base.study_seed,
        "command": command,
        "versions": provenance.versions(),
        "revision": provenance.revision(),
        "hardware": provenance.hardware(),
        "resources": asdict(resources),
        "manifest": prepared.base.manifest,
        "plan_hash": plan_hash(plan),
        "resolution": planned_resolution(prepared.manifest, study.budget),
        "test_openings": 0,
        "wall_seconds": 0.0,
        "compute_seconds": 0.0,
        "repeated_epochs": 0,
        "deviations": [],
        "preflight": preflight,
        "hours": hours,
        "base": asdict(prepared.base),
        "place": {"data": str(prepared.place.data), "test": _absolute(prepared.test)}
        | {"weights": str(prepared.place.weights) if prepared.place.weights else None},
    }
    ledger.write_identity(out, identity)
    write_json(identity, out / STUDY_FILE)
    storage.push(out)
    keep_rates(prepared.scale, study, prepared.base, prepared.place)
    return identity


def read_identity(out: Path) -> dict[str, Any]:
    """study.json of a study that this program began."""
    try:
        return _checked(out / STUDY_FILE)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        why = repr(problem)
    for copy in ledger.identities(out):
        with suppress(OSError, ValueError, KeyError, TypeError):
            known = _checked(copy)
            print(f"{out / STUDY_FILE} is torn: going on with the copy in the ledger.", file=sys.stderr)
            return known
    raise InputError(f"{out / STUDY_FILE} is not of a study that can go on ({why}): choose another --out.")


def _checked(file: Path) -> dict[str, Any]:
    known = json.loads(file.read_text(encoding="utf-8"))
    Base(**known["base"])
    Resources(**known["resources"])
    return known


def as_before(chosen: argparse.Namespace, out: Path) -> argparse.Namespace:
    """The flags, with the resources of a trial as they were where nothing is said of them."""
    before = Resources(**read_identity(out)["resources"])
    known = {"cpus_per_trial": before.cpus, "gpus_per_trial": before.gpus, "workers_per_trial": before.workers}
    given = {name: value for name in known if (value := getattr(chosen, name)) is not None}
    return argparse.Namespace(**vars(chosen) | known | given)


def go_on(
    loaded: Loaded, chosen: argparse.Namespace, resources: Resources, out: Path
) -> tuple[Prepared, dict[str, Any]]:
    """The study that `out` holds, perhaps extended, and study.json's content.

    Raises:
        InputError: its definition or a flag that changes results is not what it was.
    """
    known = read_identity(out)
    base = Base(**known["base"])
    study = from_scratch(loaded.study) if base.weights == "none" else loaded.study
    if known["goal"] == "published":
        study = study.as_published(known["budget"]["epochs"])
    study = with_budget(replace(study, budget=replace(study.budget, **known["budget"])), chosen)
    _check_same(known, study, chosen, resources, base)
    place = Place(
        manifest=(out / MANIFEST_FILE).absolute(),
        data=(chosen.data or Path(known["place"]["data"])).absolute(),
        cache=chosen.cache.absolute(),
        cache_gib=chosen.cache_gib,
        weights=_weights_folder(chosen.weights, known["place"]["weights"]),
    )
    manifest = _manifest(out / MANIFEST_FILE)
    _check_still_there(study, base, place, manifest)
    scale = scale_of(study, manifest, base, resources, place, not chosen.no_sharing)
    place = replace(place, stored=worth_storing(study, scale, base.study_seed))
    prepared = Prepared(known["name"], study, manifest, base, place, chosen.test, out, scale)
    return prepared, _extended(known, study, base, out)


def save(out: Path, identity: dict[str, Any], wall: float, compute: float, openings: int) -> None:
    """Renew what grows: the seconds spent and how often the test fold was opened."""
    identity["wall_seconds"] += wall
    identity["compute_seconds"] = compute
    identity["repeated_epochs"] = ledger.repeated_epochs(out)
    if openings > identity["test_openings"] > 0:
        identity["deviations"].append(f"the test fold was opened again (opening {openings}): it had been seen before")
    identity["test_openings"] = openings
    write_json(identity, out / STUDY_FILE)


def definition(study: Study) -> dict[str, Any]:
    """The part of a study that no flag changes, as JSON."""
    return {
        "dataset": study.dataset,
        "question": study.question,
        "goal": study.goal,
        "margin": study.margin,
        "retrain": study.retrain,
        "official_split": study.uses_official_split(),
        "factors": {name: list(factor.levels) for name, factor in study.factors.items()},
        "conditional": {
            name: {"when": dict(factor.when), "otherwise": factor.otherwise}
            for name, factor in study.factors.items()
            if factor.when
        },
        "nuisances": {
            name: {"low": each.low, "high": each.high, "log": each.log, "when": dict(each.when)}
            | ({"sets": each.sets} if each.sets else {})
            | ({"natural": list(each.natural)} if each.natural else {})
            for name, each in study.nuisances.items()
        },
        "fixed": dict(study.fixed),
        "unseen": study.unseen,
        "control": study.control,
        "published": [row for each in study.published for row in _published_rows(each)],
    }


def _published_rows(published: Published) -> list[dict[str, Any]]:
    """A row for each number that was published of one configuration."""
    row = asdict(published) | {"config": dict(published.config), "differs": list(published.differs)}
    also = row.pop("also")
    return [row, *(row | {"metric": metric, "value": value} for metric, value in also.items())]


def plan_hash(plan: list[Planned]) -> str:
    return hashlib.sha256(json.dumps([each.to_dict() for each in plan]).encode()).hexdigest()


def _check_same(
    known: dict[str, Any], study: Study, chosen: argparse.Namespace, resources: Resources, base: Base
) -> None:
    now = json.loads(json.dumps(definition(study)))
    changed = [name for name, value in now.items() if known.get(name) != value]
    if changed:
        raise InputError(
            f"A study goes on as it began, but the {changed[0]} of {study.dataset!r} differs from study.json: "
            "choose a new --out for the changed study."
        )
    start = "none" if chosen.weights == "none" else "pretrained" if chosen.weights else None
    flags = [
        ("--epochs", chosen.epochs, known["budget"]["epochs"]),
        ("--seed", chosen.seed, known["seed"]),
        ("--hours", chosen.hours, known["hours"]),
        ("--test", _absolute(chosen.test), known["place"]["test"]),
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
    for backbone, seen in weight_hashes(study, base.weights, place.weights).items():
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


def _absolute(folder: Path | None) -> str | None:
    return str(folder.absolute()) if folder else None


def _weights_folder(given: str | None, recorded: str | None) -> Path | None:
    folder = given if given not in (None, "none") else recorded
    return Path(folder).absolute() if folder else None
