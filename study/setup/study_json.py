"""study.json: what a study is, written before its first trial, and read when it goes on."""

import hashlib
import json
import shutil
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from study.design.plan import Planned, search_plan
from study.design.settings import Base
from study.estimates.cost_inputs import keep_rates
from study.estimates.resources import Resources
from study.persistence import ledger, storage
from study.results import MANIFEST_FILE, STUDY_FILE, UNSEEN_FILE
from study.setup import provenance
from study.setup.dry_run import planned_resolution
from study.setup.prepare import Prepared
from study.spec import Published, Study
from study.writing import write_json, write_table
from trainables.data.datasets import DATASETS
from trainables.errors import InputError

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
        "declared_budget": asdict(prepared.declared) if prepared.declared else None,
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
        "place": {"data": str(prepared.place.data), "test": absolute(prepared.test)}
        | {"weights": str(prepared.place.weights) if prepared.place.weights else None},
    }
    ledger.write_identity(out, identity)
    write_json(identity, out / STUDY_FILE)
    storage.push(out)
    keep_rates(prepared.inputs, study, prepared.base, prepared.place)
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


def save(out: Path, identity: dict[str, Any], wall: float, compute: float, openings: int) -> None:
    """Renew what grows: the seconds spent and how often the test fold was opened."""
    identity["wall_seconds"] += wall
    identity["compute_seconds"] = compute
    identity["repeated_epochs"] = ledger.repeated_epochs(out)
    for number in range(max(identity["test_openings"], 1) + 1, openings + 1):
        identity["deviations"].append(f"the test fold was opened again (opening {number}): it had been seen before")
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


def absolute(folder: Path | None) -> str | None:
    return str(folder.absolute()) if folder else None
