"""Event files of a course, read back as TensorBoard reads them."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (  # generated
    STATUS_FAILURE,  # pyright: ignore[reportAttributeAccessIssue]
    STATUS_SUCCESS,  # pyright: ignore[reportAttributeAccessIssue]
)

from study.design.plan import Planned
from study.persistence.ledger import Record
from study.schedule.state import StudyState
from study.tracking.tensorboard import BEST, FOLDER, SECONDS, EventFiles
from tests.courses import BASE, CONDITIONAL, CONFIG, begin, by_level, drive, killed, small_study
from tests.tiny import PATIENCE

STUDY = small_study(CONDITIONAL, {"trials": 6, "epochs": 2, "refine": 1, "seeds": 1})
TAGS = [
    "accuracy/train",
    "accuracy/val",
    "cross_entropy/train",
    "cross_entropy/val",
    "loss/penalty",
    "optimizer/learning_rate",
    "speed/images_per_second",
]
RISING = by_level({"small_cnn": 0.1})


def accuracy(planned: Planned, epoch: int) -> float | None:
    """Rising, but search-0002 fails in its second epoch and search-0003 is best in its first."""
    if planned.trial == "search-0002" and epoch == 2:
        return None
    falls = planned.trial == "search-0003" and epoch == 2
    value = RISING(planned, epoch)
    return value - 0.1 if falls and value is not None else value


def followed(out: Path) -> tuple[StudyState, EventFiles]:
    events = EventFiles(out, STUDY)
    return begin(out, STUDY, events.hear), events


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> StudyState:
    course, events = followed(tmp_path_factory.mktemp("events"))
    drive(course, accuracy, at_once=2)
    events.close()
    return course


def read(course: StudyState, trial: str = "") -> EventAccumulator:
    accumulator = EventAccumulator(str(course.out / FOLDER / trial))
    accumulator.Reload()
    return accumulator


def scalars(events: EventAccumulator, tag: str) -> list[tuple[int, Any]]:
    return [(event.step, pytest.approx(event.value)) for event in events.Scalars(tag)]


def hparams(events: EventAccumulator) -> dict[str, Any]:
    plugin = events.summary_metadata
    return {tag: metadata.parse_session_start_info_plugin_data(plugin[tag].plugin_data.content)
            for tag in [metadata.SESSION_START_INFO_TAG] if tag in plugin}  # fmt: skip


def test_every_trial_has_a_folder_with_its_rows(course: StudyState) -> None:
    folders = {path.name for path in (course.out / FOLDER).iterdir() if path.is_dir()}
    assert folders == set(course.records)
    for trial, record in course.records.items():
        events = read(course, trial)
        assert set(events.Tags()["scalars"]) == {*TAGS, BEST, SECONDS}
        found = [(e.step, round(e.value, 5)) for e in events.Scalars("accuracy/val")]
        assert found == [(epoch, round(row["val_accuracy"], 5)) for epoch, row in sorted(record.rows.items())]


def test_the_best_value_stands_at_the_best_epoch(course: StudyState) -> None:
    for trial in ("search-0001", "search-0003"):
        best = course.records[trial].best
        assert best is not None
        assert best["epoch"] == (1 if trial == "search-0003" else 2)
        (event,) = read(course, trial).Scalars(BEST)
        assert (event.step, event.value) == (best["epoch"], pytest.approx(best["val_accuracy"]))


def test_hyperparameters_have_one_type_a_column(course: StudyState) -> None:
    kinds = set()
    for trial, record in course.records.items():
        start = hparams(read(course, trial))[metadata.SESSION_START_INFO_TAG]
        values = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
        kinds.add(tuple(sorted((name, value.WhichOneof("kind")) for name, value in start.hparams.items())))
        assert values["backbone"] == record.planned.factors["backbone"]
        assert values["unfreeze"] == record.planned.factors.get("unfreeze", "-")
        assert values["learning_rate"] == record.planned.nuisances["learning_rate"]
        assert (values["phase"], values["seed"]) == (record.planned.phase, record.planned.seed)
    assert len(kinds) == 1


def test_the_end_says_whether_a_trial_failed(course: StudyState) -> None:
    for trial, record in course.records.items():
        content = read(course, trial).summary_metadata[metadata.SESSION_END_INFO_TAG].plugin_data.content
        status = metadata.parse_session_end_info_plugin_data(content).status
        failed = record.status == "failed"
        assert status == (STATUS_FAILURE if failed else STATUS_SUCCESS)
    assert course.records["search-0002"].status == "failed"


def test_the_experiment_lists_the_levels_and_the_metric(course: StudyState) -> None:
    content = read(course).summary_metadata[metadata.EXPERIMENT_TAG].plugin_data.content
    experiment = metadata.parse_experiment_plugin_data(content)
    domains = {info.name: [v.string_value for v in info.domain_discrete.values] for info in experiment.hparam_infos}
    assert domains["backbone"] == ["small_cnn", "tf_efficientnet_lite0"]
    assert domains["unfreeze"] == ["-", "head", "last stage"]  # a conditional one does not exist in every trial
    assert [info.name.tag for info in experiment.metric_infos] == [BEST, SECONDS]
    # TensorBoard shows five columns at first: what the study asks about before what it tunes.
    assert {info.name for info in experiment.hparam_infos if info.differs} == set(STUDY.factors)


def test_a_study_chosen_by_another_metric_shows_that_one_first(tmp_path: Path) -> None:
    events = EventFiles(tmp_path, STUDY, "val_macro_f1")
    course = begin(tmp_path, STUDY, events.hear)
    drive(course, accuracy)
    events.close()
    content = read(course).summary_metadata[metadata.EXPERIMENT_TAG].plugin_data.content
    experiment = metadata.parse_experiment_plugin_data(content)
    assert [info.name.tag for info in experiment.metric_infos] == ["best/val_macro_f1", BEST, SECONDS]
    best = course.records["search-0003"].best
    assert best is not None
    assert scalars(read(course, "search-0003"), "best/val_macro_f1") == [(best["epoch"], best["val_metric"])]


def test_every_chart_says_its_unit(course: StudyState) -> None:
    plugin = read(course, "search-0001").summary_metadata
    assert all(plugin[tag].summary_description for tag in TAGS)
    assert "0 to 1" in plugin["accuracy/val"].summary_description


def test_the_training_time_is_the_sum_of_the_epochs(course: StudyState) -> None:
    rows = course.records["search-0001"].rows
    assert scalars(read(course, "search-0001"), SECONDS) == [(2, sum(row["seconds"] for row in rows.values()))]


def test_a_resumed_trial_has_every_row_once(tmp_path: Path) -> None:
    for lives in (11, 17, 23):
        course, events = followed(tmp_path)
        killed(course, accuracy, lives)
        events.close()
    course, events = followed(tmp_path)
    drive(course, accuracy)
    events.close()
    for trial, record in course.records.items():
        assert [e.step for e in read(course, trial).Scalars("accuracy/val")] == sorted(record.rows)


def test_markup_in_a_level_is_text(tmp_path: Path) -> None:
    events = EventFiles(tmp_path, STUDY)
    record = Record(Planned("search-0001", "search", {"backbone": "<b>[x]"}, {}), CONFIG, {}, "failed", "e")
    events.hear("end", record)
    events.close()
    course = StudyState(tmp_path, STUDY, BASE, None, lambda event, record: None)
    start = hparams(read(course, "search-0001"))[metadata.SESSION_START_INFO_TAG]
    assert start.hparams["backbone"].string_value == "<b>[x]"


@pytest.fixture
def server(course: StudyState) -> Iterator[str]:
    """A real TensorBoard on a free port; its address."""
    tensorboard = Path(sys.executable).with_name("tensorboard")
    command = [str(tensorboard), "--logdir", str(course.out / FOLDER), "--port", "0", "--load_fast=false"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        addresses = (re.search(r"http://\S+", line) for line in process.stderr)
        yield next(match.group() for match in addresses if match).rstrip("/")
    finally:
        process.kill()
        process.communicate()


def ask(address: str, question: dict[str, Any] | None = None) -> Any:
    data = json.dumps(question).encode() if question else None
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_a_real_tensorboard_shows_every_trial_with_its_best_value(server: str, course: StudyState) -> None:
    wanted = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"],
        "colParams": [{"metric": {"tag": BEST, "group": ""}, "order": "ORDER_DESC"}],
        "startIndex": 0,
        "sliceSize": 100,
    }
    groups: list[dict[str, Any]] = []
    deadline = time.monotonic() + PATIENCE
    while len(groups) < len(course.records) and time.monotonic() < deadline:
        with suppress(OSError):
            groups = ask(f"{server}/data/plugin/hparams/session_groups", wanted).get("sessionGroups", [])
        time.sleep(0.2)
    shown = {group["sessions"][0]["name"]: group["metricValues"][0]["value"] for group in groups}
    assert shown == {
        trial: pytest.approx(record.best["val_accuracy"]) for trial, record in course.records.items() if record.best
    }
    statuses = {group["sessions"][0]["name"]: group["sessions"][0]["status"] for group in groups}
    assert statuses["search-0002"] == "STATUS_FAILURE"
    assert set(ask(f"{server}/data/plugin/scalars/tags")["search-0001"]) == {*TAGS, BEST, SECONDS}


def test_control_trials_have_a_value_in_the_declared_phases(tmp_path: Path) -> None:
    study = small_study(budget={"trials": 4, "epochs": 1, "refine": 1, "seeds": 3}, control=True)
    events = EventFiles(tmp_path, study)
    course = begin(tmp_path, study, events.hear)
    drive(course, RISING)
    events.close()
    content = read(course).summary_metadata[metadata.EXPERIMENT_TAG].plugin_data.content
    infos = metadata.parse_experiment_plugin_data(content).hparam_infos
    (declared,) = [
        [value.string_value for value in info.domain_discrete.values] for info in infos if info.name == "phase"
    ]
    assert {record.planned.phase for record in course.records.values()} == {"search", "refine", "confirm", "control"}
    assert {record.planned.phase for record in course.records.values()} <= set(declared)
