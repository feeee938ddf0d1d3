"""Write study.json, the record of a study, before the first trial, and read it when the study is resumed."""

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from search_spaces.distributions import Range
from study.design.plan import Planned, search_plan
from study.design.settings import Base
from study.estimates.cost_inputs import keep_rates
from study.estimates.resolution import planned_resolution
from study.estimates.resources import Resources
from study.persistence import ledger, storage
from study.results import MANIFEST_FILE, STUDY_FILE, UNSEEN_FILE
from study.setup import provenance
from study.setup.prepare import Prepared
from study.spec import Budget, Published, Study
from study.study_record import (
    SKIPPED,
    BudgetRecord,
    DecisionRecord,
    DefinitionRecord,
    HardwareRecord,
    NuisanceRecord,
    PlaceRecord,
    PreflightRecords,
    PublishedRecord,
    ResolutionRecord,
)
from study.writing import write_json, write_table
from trainables.data.datasets import DATASETS
from trainables.errors import InputError


@dataclass(kw_only=True)
class StudyJson:
    """study.json of a study that this program began. It has every key of study_record.StudyRecord."""

    name: str
    definition: DefinitionRecord
    budget: BudgetRecord
    declared_budget: BudgetRecord | None = None  # of the study file, before any flag; earlier versions lack it
    metric: str
    pretraining_overlap: str
    seed: int
    command: str
    versions: dict[str, str]
    revision: str
    hardware: HardwareRecord
    resources: Resources
    manifest: str  # hash
    plan_hash: str
    resolution: ResolutionRecord
    test_openings: int = 0
    wall_seconds: float = 0.0
    compute_seconds: float = 0.0
    repeated_epochs: int = 0
    deviations: list[str] = field(default_factory=list)
    decisions: list[DecisionRecord] = field(default_factory=list)
    preflight: PreflightRecords
    hours: float | None
    price: float | None = None  # of a node per hour
    nodes: int = 1  # that the study runs on
    base: Base
    place: PlaceRecord
    others: dict[str, Any] = field(default_factory=dict)  # unknown keys, which are kept

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        name, definition, others = (values.pop(key) for key in ("name", "definition", "others"))
        return {"name": name, **definition, **values, **others}

    def write(self, out: Path) -> None:
        write_json(self.to_dict(), out / STUDY_FILE)


def begin_study(
    prepared: Prepared,
    resources: Resources,
    command: str,
    hours: float | None,
    preflight: PreflightRecords = SKIPPED,
    price: float | None = None,
    nodes: int = 1,
) -> StudyJson:
    """Write the manifest, the plan and study.json. From here on the study exists.

    Args:
        preflight: the outcomes of the checks before the search.
        price: the cost of a node per hour; None if it is not known.
        nodes: the number of machines.

    Raises:
        InputError: another process has just begun a study in the same folder.
    """
    study, out = prepared.study, prepared.out
    if (out / STUDY_FILE).exists():
        raise InputError(f"--out {out} already holds a study, which has just started: choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / ledger.LEDGER, ignore_errors=True)  # of a study that was killed before its study.json
    write_table(prepared.manifest, out / MANIFEST_FILE)
    if prepared.unseen is not None and len(prepared.unseen):
        write_table(prepared.unseen, out / UNSEEN_FILE)
    plan = search_plan(study, study.budget.trials, prepared.base.study_seed) if study.goal != "best" else []
    ledger.write_plan(out, plan)
    place = prepared.place
    study_json = StudyJson(
        name=prepared.name,
        definition=definition(study),
        budget=budget_record(study.budget),
        declared_budget=budget_record(prepared.declared) if prepared.declared else None,
        metric=prepared.base.metric,
        pretraining_overlap=DATASETS[study.dataset].pretraining_overlap,
        seed=prepared.base.study_seed,
        command=command,
        versions=provenance.versions(),
        revision=provenance.revision(),
        hardware=provenance.hardware(),
        resources=resources,
        manifest=prepared.base.manifest,
        plan_hash=plan_hash(plan),
        resolution=planned_resolution(prepared.manifest, study.budget),
        preflight=preflight,
        hours=hours,
        price=price,
        nodes=nodes,
        base=prepared.base,
        place={
            "data": str(place.data),
            "test": absolute(prepared.test),
            "weights": str(place.weights) if place.weights else None,
        },
    )
    ledger.write_study(out, study_json.to_dict())
    study_json.write(out)
    storage.push(out)
    keep_rates(prepared.inputs, study, prepared.place)
    return study_json


def read_study_json(out: Path) -> StudyJson:
    """Read study.json of a study that this program began. If it is damaged, read a copy from the ledger.

    Raises:
        InputError: neither can be read.
    """
    try:
        return _read(out / STUDY_FILE)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        why = repr(problem)
    for copy in ledger.studies(out):
        with suppress(OSError, ValueError, KeyError, TypeError):
            study_json = _read(copy)
            print(f"{out / STUDY_FILE} is damaged: continuing with the copy in the ledger.", file=sys.stderr)
            return study_json
    raise InputError(f"{out / STUDY_FILE} does not describe a study that can be resumed ({why}): choose another --out.")


def _read(file: Path) -> StudyJson:
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    values |= {"base": Base(**values["base"]), "resources": Resources(**values["resources"])}
    values["definition"] = {key: values.pop(key) for key in DefinitionRecord.__annotations__}
    values["budget"].setdefault("most_seeds", values["budget"]["seeds"])  # earlier versions added no seeds
    known = {key.name for key in fields(StudyJson)} - {"others"}
    others = {key: values.pop(key) for key in list(values) if key not in known}
    return StudyJson(**values, others=others)


def save(
    out: Path, study_json: StudyJson, wall: float, compute: float, openings: int, decisions: list[DecisionRecord]
) -> None:
    """Update the numbers that grow while a study runs, and write study.json.

    Args:
        wall: seconds that this process has taken, which are added.
        compute: seconds of all trials together.
        openings: how often the test fold has been opened.
        decisions: those that led to the present state, in order.
    """
    study_json.decisions = decisions
    study_json.wall_seconds += wall
    study_json.compute_seconds = compute
    study_json.repeated_epochs = ledger.repeated_epochs(out)
    for number in range(max(study_json.test_openings, 1) + 1, openings + 1):
        study_json.deviations.append(f"the test fold was opened again (opening {number}), after it had been seen")
    study_json.test_openings = openings
    study_json.write(out)


def definition(study: Study) -> DefinitionRecord:
    """Return the part of study.json that no flag changes."""
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
        "nuisances": {name: _nuisance_record(nuisance) for name, nuisance in study.nuisances.items()},
        "fixed": dict(study.fixed),
        "unseen": study.unseen,
        "control": study.control,
        "published": [row for published in study.published for row in _published_records(published)],
    }


def budget_record(budget: Budget) -> BudgetRecord:
    return BudgetRecord(**asdict(budget) | {"most_seeds": budget.seeds_at_most})


def _nuisance_record(nuisance: Range) -> NuisanceRecord:
    record: NuisanceRecord = {
        "low": nuisance.low,
        "high": nuisance.high,
        "log": nuisance.log,
        "when": dict(nuisance.when),
    }
    if nuisance.sets:
        record["sets"] = nuisance.sets
    if nuisance.natural:
        record["natural"] = list(nuisance.natural)
    return record


def _published_records(published: Published) -> list[PublishedRecord]:
    """Return one record per published number of a configuration."""
    numbers: Sequence[tuple[str, float]] = [(published.metric, published.value), *published.also.items()]
    return [
        {
            "name": published.name,
            "config": dict(published.config),
            "metric": metric,
            "fold": published.fold,
            "value": value,
            "n": published.n,
            "differs": list(published.differs),
        }
        for metric, value in numbers
    ]


def plan_hash(plan: list[Planned]) -> str:
    """Return the hash that study.json keeps of its first plan."""
    return hashlib.sha256(json.dumps([planned.to_dict() for planned in plan]).encode()).hexdigest()


def absolute(folder: Path | None) -> str | None:
    return str(folder.absolute()) if folder else None
