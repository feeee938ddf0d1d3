"""Running a prepared study: search, refine, confirm and test on Ray, and what is written on the way."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from study.beginning.identity import save
from study.beginning.setup import Prepared
from study.estimates.costs import estimate, wall_seconds
from study.estimates.resources import Resources
from study.persistence import ledger, storage
from study.persistence.ledger import Record
from study.products.examples import write_examples
from study.products.export import export_best, shipped
from study.products.footprint import footprint
from study.products.outputs import compute_seconds, write_predictions, write_tables
from study.products.suspects import write_suspects
from study.retrieval import write_retrieval
from study.schedule.course import Course, predictions_file
from study.tracking.display import Display
from study.tracking.tensorboard import EventFiles
from study.tracking.trackers import Tracker
from trainables.data.manifest import label_names

# While a study runs its tables are renewed, so that a report can be made of it: this often, and so rarely that the
# driver of many trials spends at most this share of its time on it.
_SECONDS_BETWEEN_TABLES = 30
_SHARE_FOR_TABLES = 0.02


def run_phases(
    prepared: Prepared,
    identity: dict[str, Any],
    resources: Resources,
    wait_for_ray: Callable[[], None],
    trackers: Sequence[Tracker] = (),
) -> bool:
    """Run to the end and write everything but the report; False where no trial was usable."""
    study, out = prepared.study, prepared.out
    began = time.monotonic()
    expected = wall_seconds(estimate(study, prepared.scale, prepared.base.study_seed), resources.concurrent)
    display = Display(f"study {prepared.name}", study.budget.epochs, expected)
    events = EventFiles(out, study, prepared.base.metric)
    due = began  # so that there are tables as soon as there is a row

    def hear(event: str, record: Record) -> None:
        nonlocal due
        display.hear(event, record)
        for listener in (events, *trackers):
            listener.hear(event, record)
        if event != "start" and (now := time.monotonic()) > due:
            write_tables(course)
            storage.push(out)
            took = time.monotonic() - now
            due = now + max(_SECONDS_BETWEEN_TABLES, took / _SHARE_FOR_TABLES)

    wait_for_ray()
    # Only now: what imports Ray must find its environment set.
    from study.execution.tuning import run_on_ray

    course = Course(out, study, prepared.base, _sampler(prepared), hear)
    try:
        with display:
            run_on_ray(course, prepared.place, resources)
    finally:
        events.close()
        write_tables(course)
        save(out, identity, time.monotonic() - began, compute_seconds(course), len(ledger.read_openings(out)))
        storage.push(out)
        for tracker in trackers:
            tracker.close()
    storage.pull(out, storage.MODELS)
    write_predictions(course)
    unseen = [record for record in course.shown() if not predictions_file(out, record.planned.trial).exists()]
    if unseen:
        print(f"{len(unseen)} models could not be shown the test fold; try again with --resume.", file=sys.stderr)
    winner = shipped(course)
    if winner is not None:
        export_best(course, winner, prepared.place, prepared.manifest)
        nets = (each.config for each in course.shown())
        write_tables(course, footprint(nets, len(label_names(prepared.manifest))))
    if winner is not None and winner not in unseen:
        write_examples(course, winner, prepared.place, prepared.manifest)
        write_suspects(course, winner, prepared.place)
        if study.unseen:
            write_retrieval(out, prepared.place)
    return winner is not None


def _sampler(prepared: Prepared) -> Any:
    if prepared.study.goal == "factors":
        return None
    from study.schedule.sampling import OptunaSampler

    return OptunaSampler(prepared.study, prepared.base.study_seed, prepared.out)
