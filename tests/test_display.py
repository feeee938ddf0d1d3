"""What a person sees, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from study.design.plan import Planned
from study.persistence.ledger import Record
from study.results import Status
from study.tracking.display import Display, clock, setting_line
from tests.courses import CONFIG, phase_of, row


def record(trial: str = "search-0001", status: Status | None = None, error: str = "", **rows: float) -> Record:
    """Rows as e1=0.5, e2=0.6."""
    planned = Planned(trial, phase_of(trial), {"regularizer": "none", "augmentation": "light"}, {"rate": 0.0123})
    return Record(planned, CONFIG, {int(e[1:]): row(int(e[1:]), value) for e, value in rows.items()}, status, error)


def display(terminal: bool = False, expected: float = 100.0) -> tuple[Display, io.StringIO]:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, color_system=None)
    return Display("study tiny", 4, expected, "val_accuracy", console), text


def shown(one: Display) -> str:
    """The table as it stands now."""
    console = Console(file=io.StringIO(), width=100, color_system=None)
    with console.capture() as capture:
        console.print(one.render())
    return capture.get()


def test_elsewhere_each_end_is_one_line() -> None:
    one, text = display()
    with one:
        one.hear("start", record())
        one.hear("row", record(e1=0.5))
        one.hear("end", record(status="stopped", e1=0.5, e2=0.25))
        one.hear("end", record("refine-ab", "completed", e1=0.75))
        one.hear("end", record("search-0003", "failed", "OSError: no space left"))
        one.hear("tested", record("confirm-ab-1", "completed", e1=0.75))
    assert text.getvalue().splitlines() == [
        "search-0001 stopped after 2 epochs, val_accuracy 0.500",
        "refine-ab completed after 1 epoch, val_accuracy 0.750",
        "search-0003 failed after 0 epochs, no epoch: OSError: no space left",
    ]


def test_the_table_says_what_runs_what_is_best_and_what_is_left() -> None:
    one, _ = display()
    one.hear("start", record("search-0004"))
    one.hear("row", record("search-0003", e1=0.5, e2=0.625))
    ends: list[tuple[Status, int]] = [("completed", 1), ("completed", 2), ("stopped", 5), ("failed", 6)]
    for status, trial in ends:
        one.hear("end", record(f"search-{trial:04d}", status, e1=0.25))
    one.hear("end", record("refine-ab", "completed", e1=0.5))
    one.hear("tested", record("confirm-ab-1", "completed", e1=0.5))
    lines = [" ".join(line.split()) for line in shown(one).splitlines()]
    assert lines[0] == "study tiny 0 s elapsed, about 1 min 40 s left"
    assert lines[1:5] == [
        "search 2 finished, 1 stopped, 1 failed",
        "refine 1 finished",
        "test 1 models evaluated on the test fold",
        "best so far val_accuracy 0.625 none, light, rate 0.012",
    ]
    assert lines[5].startswith("search-0003")
    assert lines[5].endswith("epoch 2 of 4, val_accuracy 0.625")
    assert lines[6].endswith("epoch 0 of 4")
    assert len(lines) == 7


def test_an_ended_trial_runs_no_more_and_the_first_best_stays_best() -> None:
    one, _ = display()
    one.hear("row", record("search-0001", e1=0.5))
    one.hear("end", record("search-0001", "completed", e1=0.5))
    one.hear("row", record("search-0002", e1=0.5))
    assert list(one.running) == ["search-0002"]
    assert one.best is not None
    assert one.best.planned.trial == "search-0001"


def test_a_terminal_gets_the_live_table_and_no_lines() -> None:
    one, text = display(terminal=True)
    with one:
        one.hear("end", record(status="completed", e1=0.5))
        one.live.refresh()
    assert "study tiny" in text.getvalue()
    assert "1 finished" in text.getvalue()
    assert "search-0001 completed after" not in text.getvalue()


def test_finished_control_trials_are_shown() -> None:
    one, _ = display()
    one.hear("end", record("confirm-ab-1", "completed", e1=0.5))
    one.hear("end", record("control-ab-1001", "completed", e1=0.5))
    one.hear("end", record("control-ab-1002", "failed", "OSError: no space left"))
    lines = [" ".join(line.split()) for line in shown(one).splitlines()]
    assert lines[1:3] == ["confirm 1 finished", "control 1 finished, 1 failed"]


def test_the_best_so_far_is_the_best_by_the_metric_of_the_study() -> None:
    """Log loss is better if smaller, and a trial with a lower accuracy may have the better one."""
    one, _ = display()
    one.metric = "val_log_loss"
    for trial, accuracy, log_loss in (("search-0001", 0.9, 0.7), ("search-0002", 0.5, 0.2), ("search-0003", 0.7, 0.4)):
        ended = record(trial, "completed", e1=accuracy)
        ended.config, ended.rows[1]["val_metric"] = {"metric": "val_log_loss"}, log_loss
        one.hear("end", ended)
    assert one.best is not None
    assert one.best.planned.trial == "search-0002"
    assert "best so far val_log_loss 0.200" in " ".join(shown(one).split())


def test_time_left_is_never_negative() -> None:
    one, _ = display(expected=0.0)
    assert shown(one).splitlines()[0].rstrip().endswith("0 s elapsed")


HOSTILE = "[red]x[/red] [/] :dog: [link=file:///x]y"


def test_names_and_errors_are_no_markup_and_no_terminal_codes() -> None:
    one, text = display()
    bad = record("search-0001", "failed", f"OSError: {HOSTILE}\n\x1b[2J second\tline\x07 " + "long " * 40)
    bad.planned.factors["regularizer"] = HOSTILE
    one.hear("end", bad)
    (line,) = text.getvalue().splitlines()
    assert f"OSError: {HOSTILE} [2J second line long" in line
    assert line.endswith("long")
    bad.rows[1] = row(1, 0.5)
    one.hear("row", bad)
    one.title = HOSTILE
    table = " ".join(shown(one).split())
    assert table.count(HOSTILE) == 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (3600, "1 h 00 min"), (9000, "2 h 30 min")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_setting_is_levels_and_nuisances() -> None:
    assert setting_line(record()) == "none, light, rate 0.012"
