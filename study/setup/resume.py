"""--resume: continue the study in a folder as it began, possibly with more trials or seeds."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from study.arguments import Flags
from study.design.load import Loaded
from study.design.plan import search_plan
from study.estimates.cost_inputs import cost_inputs
from study.estimates.resources import Resources
from study.estimates.sharing import worth_storing
from study.persistence import ledger, storage
from study.results import MANIFEST_FILE
from study.setup import provenance
from study.setup.asked import as_asked
from study.setup.prepare import Prepared, check_folders, check_pictures, metric_for, weight_hashes
from study.setup.study_json import StudyJson, absolute, budget_record, definition, plan_hash, read_study_json
from study.spec import Study
from trainables.errors import InputError
from trainables.place import Place


def as_before(flags: Flags, out: Path) -> Flags:
    """Return the flags, with resources and a price that are left out taken from the study in `out`.

    Raises:
        InputError: study.json cannot be read.
    """
    begun = read_study_json(out)
    before = begun.resources
    return replace(
        flags,
        price=begun.price if flags.price is None else flags.price,
        cpus_per_trial=before.cpus if flags.cpus_per_trial is None else flags.cpus_per_trial,
        gpus_per_trial=before.gpus if flags.gpus_per_trial is None else flags.gpus_per_trial,
        workers_per_trial=before.workers if flags.workers_per_trial is None else flags.workers_per_trial,
    )


def resume_study(
    loaded: Loaded,
    flags: Flags,
    resources: Resources,
    out: Path,
    before_writing: Callable[[], None] = lambda: None,
) -> tuple[Prepared, StudyJson]:
    """Extend the study in `out` if the flags ask for it. Return it and its study.json.

    Args:
        before_writing: called when all checks have passed, before anything is written.

    Raises:
        InputError: the study file, a flag that changes results, the images or the weights differ from before.
    """
    prepared, begun = begun_study(loaded, flags, resources, out)
    before_writing()
    begun.price = flags.price
    _extend(begun, prepared.study, out)
    return prepared, begun


def begun_study(loaded: Loaded, flags: Flags, resources: Resources, out: Path) -> tuple[Prepared, StudyJson]:
    """Return the study in `out` as these flags would continue it, and its study.json as it is. Nothing is written.

    Raises:
        InputError: the study file, a flag that changes results, the images or the weights differ from before.
    """
    begun = read_study_json(out)
    base = begun.base
    study = _as_begun(begun, loaded, flags)
    manifest = _manifest(out / MANIFEST_FILE)
    _check_same(begun, loaded, study, manifest)
    _check_flags(begun, loaded, study, flags, resources)
    place = Place(
        manifest=(out / MANIFEST_FILE).absolute(),
        data=(flags.data or Path(begun.place["data"])).absolute(),
        cache=flags.cache.absolute(),
        cache_gib=flags.cache_gib,
        weights=_weights_folder(flags.weights, begun.place["weights"]),
    )
    _check_still_there(study, begun, place, manifest)
    inputs = cost_inputs(study, manifest, base, resources, place, not flags.no_sharing)
    prepared = Prepared(
        name=begun.name,
        study=study,
        manifest=manifest,
        base=base,
        place=replace(place, stored=worth_storing(study, inputs)),
        test=flags.test,
        out=out,
        inputs=inputs,
        declared=loaded.study.budget,
    )
    return prepared, begun


def _as_begun(begun: StudyJson, loaded: Loaded, flags: Flags) -> Study:
    """Return the study with the flags that it began with. Trials and seeds come from the present flags."""
    first = replace(
        flags,
        published=begun.definition.get("goal") == "published",
        epochs=begun.budget["epochs"],
        weights="none" if begun.base.weights == "none" else None,
        refine=begun.budget["refine"],
        test_folds=begun.budget["test_folds"],
        trials=flags.trials or begun.budget["trials"],
        seeds=flags.seeds or begun.budget["seeds"],
        most_seeds=flags.most_seeds or max(begun.budget["most_seeds"], flags.seeds or 1),
    )
    try:
        study = as_asked(loaded.study, first)
    except InputError as problem:
        raise InputError(f"Study {loaded.name!r} cannot continue as it began: {problem}") from None
    default = replace(study.budget, most_seeds=None)
    left_out = loaded.study.budget.most_seeds is None and default.seeds_at_most == study.budget.seeds_at_most
    return replace(study, budget=default) if left_out else study


def _check_same(begun: StudyJson, loaded: Loaded, study: Study, manifest: pd.DataFrame) -> None:
    """Refuse an edited study file. The error names the edit."""
    before = begun.to_dict()
    now: dict[str, Any] = json.loads(json.dumps(definition(study))) | {"metric": study.metric or metric_for(manifest)}
    declared = budget_record(loaded.study.budget)
    now["declared_budget"] = declared
    if begun.declared_budget:  # earlier versions did not know `most_seeds`
        before["declared_budget"] = {"most_seeds": declared["most_seeds"]} | begun.declared_budget
    for part in now:
        for name, old, new in _differences(part, before[part], now[part]):
            raise InputError(
                f"A study must continue as it began, but the {name} of {loaded.name!r} differs from study.json: choose "
                f"a new --out for the changed study, or undo the change (it was {old} and is {new})."
            )


# Parts of study.json, and what error messages call one of their entries.
_ENTRIES = {
    "factors": "factor",
    "conditional": "condition of factor",
    "nuisances": "nuisance",
    "fixed": "fixed",
    "published": "published configuration",
    "declared_budget": "budget's",
}


def _differences(part: str, before: Any, now: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the name, the old and the new value of each entry of one part that differs."""
    if part == "published":
        before, now = ({f"{row['name']}, {row['metric']}": row for row in rows} for rows in (before, now))
    if part not in _ENTRIES or not isinstance(before, dict):
        if before != now and part != "declared_budget":  # earlier versions did not record the declared budget
            yield part.replace("_", " "), _shown(before), _shown(now)
        return
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name, _ABSENT), now.get(name, _ABSENT)
        if old != new:
            if isinstance(old, dict) and isinstance(new, dict):
                old, new = ({key: entry.get(key) for key in new if old.get(key) != new[key]} for entry in (old, new))
            yield f"{_ENTRIES[part]} {name!r}", _shown(old), _shown(new)
    if part in ("factors", "nuisances") and list(before) != list(now):  # the plan depends on their order
        yield f"order of {part}", ", ".join(before), ", ".join(now)


_ABSENT = "not there"


def _shown(value: Any) -> str:
    if isinstance(value, list) and not any(isinstance(entry, dict) for entry in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _check_flags(begun: StudyJson, loaded: Loaded, study: Study, flags: Flags, resources: Resources) -> None:
    base, epochs = begun.base, flags.epochs
    if epochs is not None and begun.definition.get("goal") == "published":
        # More epochs than the longest configuration has do not change anything.
        epochs = loaded.study.as_published(epochs).budget.epochs
    start = "none" if flags.weights == "none" else "pretrained" if flags.weights else None
    pairs = [
        ("--epochs", epochs, begun.budget["epochs"]),
        ("--refine", flags.refine, begun.budget["refine"]),
        ("--test-folds", flags.test_folds, begun.budget["test_folds"]),
        ("--seed", flags.seed, begun.seed),
        ("--hours", flags.hours, begun.hours),
        ("--test", absolute(flags.test), begun.place["test"]),
        ("--weights", start, base.weights),
        ("--published", flags.published or None, begun.definition.get("goal") == "published"),
        ("--cpus-per-trial", flags.cpus_per_trial, base.threads * base.workers),
        ("--workers-per-trial", flags.workers_per_trial, base.workers),
    ]
    for flag, value, recorded in pairs:
        if value is not None and value != recorded:
            raise InputError(
                f"A study must continue as it began, with {flag} {recorded}, but got {value}: leave it out."
            )
    if (resources.gpus > 0) != (base.device == "cuda"):
        raise InputError(
            f"A study must continue on the device that it began on, {base.device}, or its results would differ: use "
            "the same kind of machine."
        )
    for flag, value, recorded in (
        ("--trials", study.budget.trials, begun.budget["trials"]),
        ("--seeds", study.budget.seeds, begun.budget["seeds"]),
        ("--most-seeds", study.budget.seeds_at_most, begun.budget["most_seeds"]),
    ):
        if value < recorded:
            raise InputError(f"{flag} can only grow: the study has {recorded}, but got {value}.")


def _check_still_there(study: Study, begun: StudyJson, place: Place, manifest: pd.DataFrame) -> None:
    check_folders(place.weights, place.cache)
    check_pictures(manifest, place.data)
    for backbone, digest in weight_hashes(study, place.weights).items():
        if digest != begun.base.weights_hashes[backbone]:
            raise InputError(
                f"The weights of {backbone} have changed since the study began: pass the folder of the original "
                "weights as --weights."
            )


_MAY_GROW: tuple[Literal["trials", "seeds", "most_seeds"], ...] = ("trials", "seeds", "most_seeds")


def _extend(begun: StudyJson, study: Study, out: Path) -> None:
    """Record in study.json which budgets grew and what changed on the machine, and extend the plan in the ledger."""
    seed = begun.base.study_seed
    if study.goal != "best":
        _restore_plan(begun, study, out)
    budget, grown = begun.budget, budget_record(study.budget)
    if grown["trials"] > budget["trials"]:
        begun.deviations.append(f"trials extended from {budget['trials']} to {grown['trials']} after the first plan")
    if grown["seeds"] > budget["seeds"]:
        begun.deviations.append(f"seeds extended from {budget['seeds']} to {grown['seeds']} after the first plan")
    if grown["most_seeds"] > max(budget["most_seeds"], grown["seeds"]):
        most = f"{budget['most_seeds']} to {grown['most_seeds']}"
        begun.deviations.append(f"most seeds of a setting extended from {most} after the first plan")
    if begun.hours is not None and any(grown[name] > budget[name] for name in _MAY_GROW):
        begun.deviations.append(f"the limit of {begun.hours:g} hours no longer holds, because the study was extended")
        begun.hours = None
    for name in _MAY_GROW:
        budget[name] = max(budget[name], grown[name])
    begun.deviations += [change for change in _changes(begun) if change not in begun.deviations]
    # Written before the plan, so that a resume after a crash in between extends the plan.
    ledger.write_study(out, begun.to_dict())
    begun.write(out)
    storage.push(out)
    if study.goal != "best":
        plan, planned = search_plan(study, study.budget.trials, seed), ledger.read_plan(out)
        if len(plan) > len(planned):
            ledger.write_plan(out, plan[len(planned) :])


def _manifest(file: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as problem:  # ArrowInvalid is a ValueError
        raise InputError(f"{file} is damaged: restore a copy of it, or choose another --out.") from problem


def _restore_plan(begun: StudyJson, study: Study, out: Path) -> None:
    """Draw a damaged plan again, unless it was extended. Its hash shows whether it is the same plan."""
    try:
        ledger.read_plan(out)
    except InputError:
        plan = search_plan(study, begun.budget["trials"], begun.base.study_seed)
        if plan_hash(plan) != begun.plan_hash:
            raise
        ledger.write_plan(out, plan, number=0)


def _changes(begun: StudyJson) -> list[str]:
    """Return a sentence for each change of code, packages or machine since the study began."""
    before, now = begun.hardware, provenance.hardware()
    pairs = [
        *((name, begun.versions.get(name), version) for name, version in provenance.versions().items()),
        ("the code's revision", begun.revision, provenance.revision()),
        ("CPU count", before.get("cpus"), now["cpus"]),
        ("CPU", before.get("cpu"), now["cpu"]),
        ("GPUs", before.get("gpus"), now["gpus"]),
    ]
    return [f"continued with {name} {after}, begun with {before}" for name, before, after in pairs if before != after]


def _weights_folder(flag: str | None, recorded: str | None) -> Path | None:
    folder = flag if flag not in (None, "none") else recorded
    return Path(folder).absolute() if folder else None
