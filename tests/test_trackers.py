"""Trackers, through modules that stand for theirs; the real ones were tried by hand: docs/viewers.md."""

import sys
import threading
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from study.run import main
from study.schedule.state import StudyState
from study.tracking.trackers import Background, check_installed, connect
from tests.courses import CONDITIONAL, begin, by_level, drive, killed, small_study
from trainables.errors import InputError

STUDY = small_study(CONDITIONAL, {"trials": 4, "epochs": 2, "refine": 1, "seeds": 1})
RISING = by_level({"small_cnn": 0.1})


class Run:
    """A run as either tracker keeps it."""

    def __init__(self, name: str, config: dict[str, Any]) -> None:
        self.name, self.config = name, config
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.tags: dict[str, Any] = {}
        self.ended: Any = None


class Server:
    """What MLflow's client keeps."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.experiments: list[str] = []

    def search_experiments(self, max_results: int) -> list[str]:
        return self.experiments[:max_results]

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=name) if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        self.experiments.append(name)
        return name

    def create_run(self, experiment: str, tags: dict[str, str], run_name: str) -> Any:
        run = f"run-{len(self.runs)}"
        self.runs[run] = Run(run_name, {})
        self.runs[run].tags.update(tags)
        return SimpleNamespace(info=SimpleNamespace(run_id=run))

    def log_batch(self, run: str, metrics: Any = (), params: Any = ()) -> None:
        assert self.runs[run].ended is None
        self.runs[run].config |= {each.name: each.value for each in params}
        if metrics:
            self.runs[run].rows.append((metrics[0].step, {each.name: each.value for each in metrics}))

    def search_runs(self, experiments: list[str], question: str) -> list[Any]:
        assert experiments == self.experiments
        assert question.endswith("attributes.status = 'RUNNING'")
        return [SimpleNamespace(info=SimpleNamespace(run_id=run)) for run, each in self.runs.items() if not each.ended]

    def set_tag(self, run: str, name: str, value: Any) -> None:
        self.runs[run].tags[name] = value

    def set_terminated(self, run: str, status: str) -> None:
        self.runs[run].ended = status


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """An MLflow whose client writes here."""
    made = Server()
    mlflow, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    mlflow.__spec__ = ModuleSpec("mlflow", None)
    mlflow.MlflowClient = lambda tracking_uri: made  # type: ignore[attr-defined]
    entities.Param = lambda name, value: SimpleNamespace(name=name, value=value)  # type: ignore[attr-defined]
    entities.Metric = lambda name, value, time, step: SimpleNamespace(name=name, value=value, step=step)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    return made


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """A W&B whose runs are these."""
    made: list[Run] = []

    def init(name: str, config: dict[str, Any], **more: Any) -> Any:
        run = Run(name, config)
        run.tags = more
        made.append(run)
        return SimpleNamespace(
            log=lambda row, step: run.rows.append((step, row)),
            summary=run.tags,
            finish=lambda exit_code: setattr(run, "ended", exit_code),
        )

    wandb = ModuleType("wandb")
    wandb.__spec__ = ModuleSpec("wandb", None)
    wandb.init = init  # type: ignore[attr-defined]
    wandb.setup = lambda: SimpleNamespace(settings=SimpleNamespace(mode="offline"))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    return made


def followed(out: Path, accuracy: Callable, **asked: str) -> StudyState:
    """A whole study that trackers heard of."""
    trackers = connect(asked.get("mlflow"), asked.get("wandb"), "tiny", out)
    course = begin(out, STUDY, lambda event, record: [tracker.hear(event, record) for tracker in trackers])
    drive(course, accuracy, at_once=2)
    for tracker in trackers:
        tracker.close()
    return course


def second_fails(planned: Any, epoch: int) -> float | None:
    return None if planned.trial == "search-0002" and epoch == 2 else RISING(planned, epoch)


def test_mlflow_has_a_run_for_each_trial_with_its_setting_and_rows(server: Server, tmp_path: Path) -> None:
    course = followed(tmp_path, second_fails, mlflow="sqlite:///x")
    by_name = {run.name: run for run in server.runs.values()}
    assert server.experiments == ["tiny"]
    assert set(by_name) == set(course.records)
    assert len(server.runs) == len(course.records)  # a look at the test fold is no run
    for trial, record in course.records.items():
        run, planned = by_name[trial], record.planned
        shown = {**planned.factors, **planned.nuisances, "phase": planned.phase, "seed": planned.seed}
        assert run.config == {name: str(value) for name, value in shown.items()}
        rows = [(step, row["val_accuracy"]) for step, row in run.rows if "val_accuracy" in row]
        assert rows == [(epoch, row["val_accuracy"]) for epoch, row in sorted(record.rows.items())]
        assert record.best is not None
        assert run.rows[-1][1]["best_val_accuracy"] == record.best["val_accuracy"]
        assert run.tags["status"] == record.status
        assert run.ended == ("FAILED" if record.status == "failed" else "FINISHED")
    assert by_name["search-0002"].ended == "FAILED"


def test_after_a_crash_mlflow_has_no_run_that_seems_to_go_on(server: Server, tmp_path: Path) -> None:
    for lives in (5, 9):
        (tracker,) = connect("sqlite:///x", None, "tiny", tmp_path)
        killed(begin(tmp_path, STUDY, tracker.hear), RISING, lives)
        tracker.calls.put(None)  # what was heard is written; nothing is closed
        tracker.thread.join()
    course = followed(tmp_path, RISING, mlflow="sqlite:///x")
    assert all(run.ended for run in server.runs.values())
    finished = [run for run in server.runs.values() if run.ended == "FINISHED"]
    assert sorted(run.name for run in finished) == sorted(course.records)
    for run in finished:
        epochs = [step for step, row in run.rows if "val_accuracy" in row]
        assert epochs == sorted(course.records[run.name].rows)


def test_wandb_has_a_run_for_each_trial_in_the_studys_group(runs: list[Run], tmp_path: Path) -> None:
    course = followed(tmp_path, second_fails, wandb="pictures")
    assert sorted(run.name for run in runs) == sorted(course.records)
    for run in runs:
        record = course.records[run.name]
        assert (run.tags["project"], run.tags["group"]) == ("pictures", "tiny")
        assert run.config["backbone"] == record.planned.factors["backbone"]
        assert [(step, row["val_accuracy"]) for step, row in run.rows] == [
            (epoch, row["val_accuracy"]) for epoch, row in sorted(record.rows.items())
        ]
        assert record.best is not None
        assert run.tags["best_val_accuracy"] == record.best["val_accuracy"]
        assert run.ended == (1 if record.status == "failed" else 0)


class Broken:
    """A tracker that fails at its third call."""

    def __init__(self) -> None:
        self.heard = 0

    def hear(self, event: str, record: Any) -> None:
        self.heard += 1
        if self.heard == 3:
            raise ConnectionError("gone\naway")

    def close(self) -> None:
        raise AssertionError("it is left alone")


def test_a_tracker_that_fails_is_left_alone_and_the_study_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Broken()
    tracker = Background("MLflow", broken)
    course = begin(tmp_path, STUDY, tracker.hear)
    drive(course, RISING)
    tracker.close()
    assert course.phase == "done"
    assert broken.heard == 3
    assert (
        capsys.readouterr().err
        == "MLflow failed, so this study is no longer logged there: ConnectionError: gone away\n"
    )


def test_a_slow_tracker_hears_a_row_as_it_was(tmp_path: Path) -> None:
    """The course goes on writing into its records while the tracker still waits for its turn."""
    go, seen = threading.Event(), []

    class Slow(Broken):
        def hear(self, event: str, record: Any) -> None:
            go.wait()
            seen.append((record.planned.trial, event, len(record.rows)))

        def close(self) -> None: ...

    tracker = Background("slow", Slow())
    drive(begin(tmp_path, STUDY, tracker.hear), RISING)
    go.set()
    tracker.close()
    assert seen[:3] == [("search-0001", "start", 0), ("search-0001", "row", 1), ("search-0001", "row", 2)]


@pytest.mark.parametrize(("flag", "package"), [("--mlflow", "mlflow-skinny"), ("--wandb", "wandb")])
def test_a_missing_package_is_one_line_before_anything_starts(
    flag: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("study.tracking.trackers.find_spec", lambda name: None)
    out = tmp_path / "out"
    assert main(["digits", flag, "somewhere", "--out", str(out)]) == 2
    assert capsys.readouterr().err == f"{flag} needs the package {flag[2:]}: pip install {package}\n"
    assert not out.exists()


def test_nothing_is_looked_for_that_was_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.tracking.trackers.find_spec", lambda name: None)
    check_installed(None, None)
    assert connect(None, None, "tiny", Path("out")) == []


def test_a_server_that_is_not_there_is_one_line(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(max_results: int) -> None:
        raise ConnectionError("refused\nbecause")

    monkeypatch.setattr(server, "search_experiments", refuse)
    with pytest.raises(InputError, match=r"^--mlflow http://nowhere cannot be used: refused$"):
        connect("http://nowhere", None, "tiny", Path("out"))


def test_wandb_without_a_key_is_one_line(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    online = SimpleNamespace(settings=SimpleNamespace(mode="online"))
    monkeypatch.setattr(sys.modules["wandb"], "setup", lambda: online)
    monkeypatch.setattr(sys.modules["wandb"], "login", lambda prompt: False, raising=False)
    with pytest.raises(InputError, match="wandb login"):
        connect(None, "pictures", "tiny", Path("out"))
    assert not runs


def test_control_trials_are_runs_of_their_own_phase(server: Server, runs: list[Run], tmp_path: Path) -> None:
    study = small_study(budget={"trials": 4, "epochs": 1, "refine": 1, "seeds": 3}, control=True)
    trackers = connect("sqlite:///x", "images", "tiny", tmp_path)
    drive(begin(tmp_path, study, lambda event, record: [tracker.hear(event, record) for tracker in trackers]), RISING)
    for tracker in trackers:
        tracker.close()
    assert [run.config["phase"] for run in server.runs.values()].count("control") == 3
    assert [run.tags["job_type"] for run in runs].count("control") == 3
    assert all(run.ended == "FINISHED" for run in server.runs.values())
