"""What a person sees, on a terminal and elsewhere."""

import io
import re

import pytest
from rich.console import Console

from study.design.plan import Planned
from study.messages import set_verbosity
from study.persistence.ledger import Event, Record
from study.results import Status
from study.tracking.display import Display, clock, rough, setting_line
from tests.courses import CONFIG, phase_of, row
from tests.simulated import Clock, Known, progress


def record(trial: str = "search-0001", status: Status | None = None, error: str = "", **rows: float) -> Record:
    """Rows as e1=0.5, e2=0.6."""
    seed = int(trial[-1]) if trial.startswith("confirm") else 0
    levels = {"regularizer": "none", "augmentation": "light"}
    planned = Planned(trial, phase_of(trial), levels, {"rate": 0.0123}, seed=seed)
    return Record(planned, CONFIG, {int(e[1:]): row(int(e[1:]), value) for e, value in rows.items()}, status, error)


def display(terminal: bool = False, width: int = 100, height: int = 24) -> tuple[Display, Clock, io.StringIO]:
    text, clock = io.StringIO(), Clock()
    console = Console(file=text, force_terminal=terminal, width=width, height=height, color_system=None)
    return Display("study tiny", "val_accuracy", progress(clock=clock), console, clock), clock, text


def hear(one: Display, event: Event, heard: Record) -> None:
    """As a study does it, which registers its records before it tells of them."""
    one.progress.course.records.setdefault(heard.planned.trial, heard)
    one.hear(event, heard)


def shown(one: Display, width: int = 100) -> list[str]:
    """The lines of the table as it stands now."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(one.render())
    return [" ".join(line.split()) for line in capture.get().replace("━", "").replace("╸", "").splitlines()]


def test_elsewhere_there_is_a_line_at_both_ends_and_one_a_minute() -> None:
    one, clock, text = display()
    with one:
        hear(one, "start", record())
        hear(one, "row", record(e1=0.5))
        clock.now = 59.0
        one.tick()
        assert text.getvalue().count("\n") == 1
        hear(one, "end", record("search-0001", "stopped", e1=0.5))
        hear(one, "end", record("search-0002", "completed", e1=0.5, e2=0.625))
        clock.now = 60.0
        one.tick()
        one.tick()
        assert text.getvalue().count("\n") == 2
        clock.now = 61.0
    lines = text.getvalue().splitlines()
    assert lines[0] == (
        "study tiny: 0 s elapsed, about 2 min 00 s left; search 0 of 12, refine 0 of 4, confirm 0 of 4, test 0 of 4"
    )
    assert lines[1].startswith("study tiny: 1 min 00 s elapsed, about ")
    assert lines[1].endswith(
        "search 2 of 12 (1 stopped), refine 0 of 4, confirm 0 of 4, test 0 of 4; best so far val_accuracy 0.625"
    )
    assert lines[2].startswith("study tiny: 1 min 01 s elapsed, about ")
    assert len(lines) == 3


def test_failures_are_printed_at_once_and_other_ends_only_with_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    one, _, text = display()
    failed = record("search-0003", "failed", "OSError: no space left")
    line = "search-0003 (none, light, rate 0.012) failed after 0 epochs, no epoch: OSError: no space left\n"
    hear(one, "end", record("search-0001", "stopped", e1=0.5, e2=0.25))
    hear(one, "end", failed)
    assert text.getvalue() == line
    hear(one, "tested", record("confirm-ab-1", "completed", e1=0.75))
    assert text.getvalue() == line
    hear(one, "tested", failed)
    assert text.getvalue() == 2 * line
    assert capsys.readouterr().err == ""
    set_verbosity(quiet=False, verbose=True)
    hear(one, "end", record("search-0004", "stopped", e1=0.5, e2=0.25))
    set_verbosity(quiet=False, verbose=False)
    assert capsys.readouterr().err == (
        "search-0004 (none, light, rate 0.012) stopped after 2 epochs, val_accuracy 0.500\n"
    )
    assert text.getvalue() == 2 * line


def test_the_table_says_what_runs_what_is_best_and_what_is_left() -> None:
    one, _, _ = display()
    hear(one, "start", record("search-0004"))
    hear(one, "row", record("search-0003", e1=0.5, e2=0.625))
    ends: list[tuple[Status, int]] = [("completed", 1), ("completed", 2), ("stopped", 5), ("failed", 6)]
    for status, trial in ends:
        hear(one, "end", record(f"search-{trial:04d}", status, e1=0.25))
    hear(one, "end", record("refine-ab", "completed", e1=0.5))
    hear(one, "tested", record("confirm-ab-1", "completed", e1=0.5))
    hear(one, "start", record("confirm-ab-2", "completed", e1=0.5))
    lines = shown(one)
    assert re.fullmatch(r"study tiny 0 s elapsed, about .* left", lines[0])
    assert lines[1:] == [
        "search 4 of 12 (1 stopped, 1 failed)",
        "refine 1 of 4",
        "confirm 2 of 4",
        "test 1 of 4",
        "best val_accuracy 0.625 none, light, rate 0.012",
        "running epoch 0 of 4 none, light, rate 0.012",
        "epoch 2 of 4, 0.625 none, light, rate 0.012",
        "on the test fold none, light, rate 0.012, seed 2",
    ]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 12)])
def test_nothing_wraps_or_scrolls_away(width: int, height: int) -> None:
    one, _, _ = display(terminal=True, width=width, height=height)
    for number in range(64):
        running = record(f"search-{number:04d}", e1=0.5)
        running.planned.factors["regularizer"] = "long " * 40
        hear(one, "row", running)
    lines = shown(one, width)
    assert len(lines) == height - 1
    assert re.fullmatch(r"and \d+ more", lines[-1])
    listed = sum(line.startswith(("running epoch", "epoch")) for line in lines)
    assert listed + int(lines[-1].split()[1]) == 64


def test_an_ended_trial_runs_no_more_and_the_first_best_stays_best() -> None:
    one, _, _ = display()
    hear(one, "row", record("search-0001", e1=0.5))
    hear(one, "end", record("search-0001", "completed", e1=0.5))
    hear(one, "row", record("search-0002", e1=0.5))
    assert list(one.jobs) == ["search-0002"]
    assert one.best is not None
    assert one.best.planned.trial == "search-0001"


def test_a_terminal_gets_the_live_table_which_stays() -> None:
    one, _, text = display(terminal=True)
    with one:
        hear(one, "end", record(status="completed", e1=0.5))
    assert "study tiny" in text.getvalue()
    assert "1 of 12" in text.getvalue()
    assert "study tiny:" not in text.getvalue()


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    one, _, text = display(terminal=True)
    with one:
        pass
    assert text.getvalue().count("study tiny: 0 s elapsed") == 2


def test_quiet_prints_nothing() -> None:
    one = Display("study tiny", "val_accuracy", progress(), Console(file=(text := io.StringIO()), quiet=True))
    with one:
        hear(one, "end", record(status="failed"))
        one.tick()
    assert text.getvalue() == ""


def test_the_best_so_far_is_the_best_by_the_metric_of_the_study() -> None:
    """Log loss is better if smaller, and a trial with a lower accuracy may have the better one."""
    one, _, _ = display()
    one.metric = "val_log_loss"
    for trial, accuracy, log_loss in (("search-0001", 0.9, 0.7), ("search-0002", 0.5, 0.2), ("search-0003", 0.7, 0.4)):
        ended = record(trial, "completed", e1=accuracy)
        ended.config, ended.rows[1]["val_metric"] = CONFIG | {"metric": "val_log_loss"}, log_loss
        hear(one, "end", ended)
    assert one.best is not None
    assert one.best.planned.trial == "search-0002"
    assert "best val_log_loss 0.200 none, light, rate 0.012" in shown(one)


def test_a_resumed_study_begins_with_the_best_of_its_ledger_but_no_retrained_model() -> None:
    before = [record("search-0001", "completed", e1=0.5), record("search-0002", "failed", e1=0.25)]
    retrained = record("retrain-ab", "completed", e1=0.99)  # it has seen the validation images
    one = Display("study tiny", "val_accuracy", progress([*before, retrained]), Console(file=io.StringIO()))
    assert one.best == before[0]
    assert "search 2 of 12 (1 failed)" in shown(one)


def test_a_study_that_is_done_has_no_time_left() -> None:
    one, _, _ = display()
    assert isinstance(one.progress.course, Known)
    one.progress.course.phase = "done"
    assert one.summary() == "study tiny: 0 s elapsed; "


HOSTILE = "[red]x[/red] [/] :dog: [link=file:///x]y"


def test_names_and_errors_are_no_markup_and_no_terminal_codes() -> None:
    one, _, text = display()
    bad = record("search-0001", "failed", f"OSError: {HOSTILE}\n\x1b[2J second\tline\x07 " + "long " * 40)
    bad.planned.factors["regularizer"] = f"{HOSTILE}\x1b[2J"
    hear(one, "end", bad)
    (line,) = text.getvalue().splitlines()
    assert f"OSError: {HOSTILE} [2J second line long" in line
    assert line.endswith("long")
    bad.rows[1] = row(1, 0.5)
    hear(one, "row", bad)
    one.title = HOSTILE
    table = "\n".join(shown(one))
    assert table.count(HOSTILE) == 3
    assert "\x1b" not in table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (3600, "1 h 00 min"), (9000, "2 h 30 min")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (42, "40 s"), (58, "1 min 00 s"), (187, "3 min 10 s"), (1484, "25 min"), (7480, "2 h 05 min")],
)
def test_an_estimate_is_no_more_exact_than_it_is(seconds: float, text: str) -> None:
    assert rough(seconds) == text


def test_setting_is_levels_nuisances_and_seed() -> None:
    assert setting_line(record()) == "none, light, rate 0.012"
    planned = Planned("confirm-a-2", "confirm", {"unfreeze": "head"}, {"learning_rate": 0.003}, seed=2)
    assert setting_line(Record(planned, CONFIG)) == "head, lr 0.003, seed 2"
    published = Planned("published-a-1", "published", {}, {}, seed=1, published="Chollet 2016")
    assert setting_line(Record(published, CONFIG)) == "Chollet 2016, seed 1"
