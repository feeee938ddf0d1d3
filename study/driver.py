"""Running a prepared study: search, refine, confirm and test on Ray, and what is written on the way."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from study.estimates.costs import estimate, wall_seconds
from study.estimates.resources import Resources
from study.persistence import ledger, storage
from study.persistence.ledger import Record
from study.products.examples import write_examples
from study.products.export import export_best, shipped
from study.products.footprint import footprint
from study.products.local_dir import NotTheSame
from study.products.outputs import compute_seconds, write_predictions, write_tables
from study.products.suspects import write_suspects
from study.retrieval import write_retrieval
from study.schedule.state import StudyState, predictions_file
from study.setup.prepare import Prepared
from study.setup.study_json import save
from study.tracking.display import Display
from study.tracking.tensorboard import EventFiles
from study.tracking.trackers import Tracker
from trainables.data.manifest import label_names

# While a study runs its tables are renewed, so that a report can be made of it: this often, and so rarely that the
# driver of many trials spends at most this share of its time on it.
_SECONDS_BETWEEN_TABLES = 30
_SHARE_FOR_TABLES = 0.02


def drive(
    prepared: Prepared,
    identity: dict[str, Any],
    resources: Resources,
    wait_for_ray: Callable[[], None],
    trackers: Sequence[Tracker] = (),
) -> str:
    """Run to the end and write everything but the report; gives what went wrong, empty where nothing did."""
    study, out = prepared.study, prepared.out
    began = time.monotonic()
    expected = wall_seconds(estimate(study, prepared.inputs, prepared.base.study_seed), resources.concurrent)
    display = Display(f"study {prepared.name}", study.budget.epochs, expected)
    events = EventFiles(out, study, prepared.base.metric)
    due = began  # so that there are tables as soon as there is a row

    def hear(event: str, record: Record) -> None:
        nonlocal due
        display.hear(event, record)
        for listener in (events, *trackers):
            listener.hear(event, record)
        if event != "start" and (now := time.monotonic()) > due:
            write_tables(state)
            storage.push(out)
            took = time.monotonic() - now
            due = now + max(_SECONDS_BETWEEN_TABLES, took / _SHARE_FOR_TABLES)

    wait_for_ray()
    # Only now: what imports Ray must find its environment set.
    from study.execution.tuning import run_on_ray

    state = StudyState(out, study, prepared.base, _sampler(prepared), hear)
    try:
        with display:
            run_on_ray(state, prepared.place, resources)
    finally:
        events.close()
        write_tables(state)
        save(out, identity, time.monotonic() - began, compute_seconds(state), len(ledger.read_openings(out)))
        storage.push(out)
        for tracker in trackers:
            tracker.close()
    storage.pull(out, storage.MODELS)
    write_predictions(state)
    unseen = [record for record in state.shown() if not predictions_file(out, record.planned.trial).exists()]
    if unseen:
        print(f"{len(unseen)} models could not be shown the test fold; try again with --resume.", file=sys.stderr)
    winner, wrong = shipped(state), ""
    if winner is None:
        return f"The study ended without a usable trial; {out}/report.html says why."
    try:
        export_best(state, winner, prepared.place, prepared.manifest)
    except NotTheSame as problem:
        wrong = (
            f"No model is left: best/ is not the one that was tested ({problem}). The tables and the report are whole."
        )
    nets = (each.config for each in state.shown())
    write_tables(state, footprint(nets, len(label_names(prepared.manifest))))
    if winner not in unseen and not wrong:
        write_examples(state, winner, prepared.place, prepared.manifest)
        write_suspects(state, winner, prepared.place)
        if study.unseen:
            write_retrieval(out, prepared.place)
    return wrong


def _sampler(prepared: Prepared) -> Any:
    if prepared.study.goal == "factors":
        return None
    from study.schedule.sampling import OptunaSampler

    return OptunaSampler(prepared.study, prepared.base.study_seed, prepared.out)
