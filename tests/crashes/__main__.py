"""A study disturbed in every way we know, gone on with by --resume, and compared with an undisturbed one.

    python -m tests.crashes                       # the whole matrix
    python -m tests.crashes --short               # one case of each kind
    python -m tests.crashes --only 'raylet|GCS'   # the cases whose name this pattern finds

Prints a table of what was lost, what was done twice and how long it took to be under way again, and ends with
status 1 where a study came out in any way different. The full disk needs the right to mount.
"""

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from study.persistence.ledger import LEDGER
from study.writing import write_table
from tests.crashes.compared import Outcome, differences, snapshot
from tests.crashes.damage import (
    Damage,
    disk_filled,
    end_orphans,
    garbage,
    gcs_killed,
    killed_after,
    killed_at,
    ledger_objects,
    raylet_killed,
    signalled,
    small_disk,
    worker_killed,
)
from tests.crashes.study_under_test import Tried, finish, prepare

KILLS = 20
SPOILED = ("ledger/reports/*/*.json", "ledger/verdicts/*.json", "ledger/ends/*.json", "ledger/settings/*.json")
SPOILED += ("ledger/plan/*.json", "checkpoints/*.safetensors", "study.json")
MOST_RESUMES = 3


@dataclass(frozen=True)
class Case:
    name: str
    damage: tuple[Damage, ...]  # one after another, each to a driver of its own
    short: bool = False  # whether it is of the short matrix
    statuses: tuple[int, ...] = ()  # what the disturbed driver must end with, where that is promised
    mounts: bool = False


def cases(objects: int, seed: int) -> Iterator[Case]:
    """`objects` is how many an undisturbed study has in its ledger at the end."""
    moments = random.Random(seed)

    def moment() -> tuple[int, float]:
        return moments.randint(1, objects - 1), moments.uniform(0, 0.5)

    killed = (-9,)
    yield Case("driver killed in its first second", (killed_after(0, 0.5),), True, killed)
    for number in range(KILLS - 2):
        after, delay = moment()
        yield Case(f"driver killed at object {after}", (killed_after(after, delay),), number < 2, killed)
    yield Case("driver killed while the test fold is open", (killed_at("openings/000.json", 0.2),), True, killed)
    for number in range(2):
        first, second = sorted((moment(), moment()))
        name = f"driver killed at object {first[0]}, and again at {second[0]}"
        yield Case(name, (killed_after(*first), killed_after(*second)), number == 0, killed)
    for number, what in enumerate(("base is chosen", "range is widened", "range is widened again")):
        yield Case(f"driver killed when a {what}", (killed_at(f"decisions/{number:03d}.json"),), number == 1, killed)
    yield Case("SIGTERM", (signalled(signal.SIGTERM, 4),), short=True, statuses=(130,))
    yield Case("Ctrl-C", (signalled(signal.SIGINT, 8),), short=True, statuses=(130,))
    yield Case("a trial's process killed", (worker_killed(3),), short=True, statuses=(0,))
    yield Case("a trial's process killed while confirming", (worker_killed(20),), statuses=(0,))
    yield Case("raylet killed", (raylet_killed(5),), short=True)
    yield Case("GCS killed", (gcs_killed(5),))
    yield Case("disk full", (disk_filled(5),), short=True, statuses=(130,), mounts=True)
    for number, kind in enumerate(SPOILED):
        said = "cut in half" if number % 2 else "overwritten"
        yield Case(f"driver killed, one of {kind} {said}", (garbage(kind, number),), short=number < 2)
    decisions = "ledger/decisions/*.json"
    yield Case(f"driver killed, one of {decisions} overwritten", (garbage(decisions, 0, ends=14),))
    yield Case("a second driver", (_second_driver,), short=True, statuses=(0,))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crashes", description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", default="", metavar="PATTERN")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path)
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts with & ignore Ctrl-C
    with tempfile.TemporaryDirectory(prefix="cr", ignore_cleanup_errors=True) as name:  # short: Ray has sockets below
        folder = prepare(Path(name))
        undisturbed = Tried(folder, folder / "undisturbed", folder / "h")
        _to_the_end(undisturbed)  # fills the cache of decoded images, so that times are alike from now on
        shutil.rmtree(undisturbed.out)
        seconds = _to_the_end(undisturbed)
        wanted = [
            each for each in cases(ledger_objects(undisturbed.out), chosen.seed) if re.search(chosen.only, each.name)
        ]
        may_mount = os.geteuid() == 0
        rows = []
        for number, case in enumerate(each for each in wanted if each.short or not chosen.short):
            if case.mounts and not may_mount:
                print(f"{case.name}: not tried, it needs the right to mount", file=sys.stderr)
                continue
            outcome = run(case, undisturbed, folder / str(number))
            rows.append({"case": case.name, **vars(outcome)})
            print(rows[-1], file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    if chosen.csv:
        write_table(table, chosen.csv)
    print(f"An undisturbed study took {seconds:.0f} s.")
    print(table.to_string(index=False))
    return int((table["differs"] != "").any())


def run(case: Case, undisturbed: Tried, folder: Path) -> Outcome:
    with small_disk(folder / "disk") if case.mounts else nullcontext(folder) as place:
        tried = Tried(undisturbed.folder, place / "out", folder / "h")
        try:
            return _disturbed(case, tried, undisturbed)
        finally:
            end_orphans(tried.home)


def _disturbed(case: Case, tried: Tried, undisturbed: Tried) -> Outcome:
    statuses: list[int] = []
    wrong: list[str] = []
    before = snapshot(tried.out)
    for damage in case.damage:
        process = tried.start()
        damage(tried, process)
        status, said = finish(process)
        statuses.append(status)
        if case.statuses and status not in case.statuses:
            wrong.append(f"ended with {status}: {said.strip().splitlines()[-1:]}")
        before = snapshot(tried.out)
    recovered = 0.0
    while statuses[-1] != 0 and len(statuses) <= len(case.damage) + MOST_RESUMES:
        began, known = time.monotonic(), ledger_objects(tried.out)
        process = tried.start()
        while process.poll() is None and ledger_objects(tried.out) <= known:
            time.sleep(0.05)
        recovered = recovered or time.monotonic() - began
        status, said = finish(process)
        statuses.append(status)
        if status != 0:
            wrong.append(f"--resume ended with {status}: {said.strip().splitlines()[-1:]}")
    wrong += differences(undisturbed.out, tried.out, before)
    return Outcome.of(tried.out, statuses, recovered, before, wrong)


def _to_the_end(tried: Tried) -> float:
    began = time.monotonic()
    status, said = finish(tried.start())
    if status != 0:
        raise SystemExit(f"the undisturbed study ended with {status}: {said}")
    return time.monotonic() - began


def _second_driver(tried: Tried, process: object) -> None:
    """Must be sent away in one line, and change nothing for the first."""
    while not (tried.out / LEDGER / "reports").exists():
        time.sleep(0.05)
    status, said = finish(tried.start())
    if status != 2 or "another process runs its study" not in said:
        raise AssertionError(f"the second driver ended with {status}: {said}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
