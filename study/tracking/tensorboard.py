"""TensorBoard event files: clean tags, and the HParams plugin with each trial's best value."""

import shutil
import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue] (generated)
from tensorboard.plugins.hparams import metadata, summary_v2
from tensorboard.plugins.hparams.api_pb2 import (  # generated
    STATUS_FAILURE,  # pyright: ignore[reportAttributeAccessIssue]
    STATUS_SUCCESS,  # pyright: ignore[reportAttributeAccessIssue]
    Experiment,  # pyright: ignore[reportAttributeAccessIssue]
    HParamInfo,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (  # generated
    HParamsPluginData,  # pyright: ignore[reportAttributeAccessIssue]
    SessionEndInfo,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboardX import SummaryWriter
from tensorboardX.proto.summary_pb2 import Summary as XSummary  # pyright: ignore[reportAttributeAccessIssue]

from search_spaces.distributions import Conditional
from study.persistence.ledger import Event, Record
from study.results import METRIC_COLUMN, PHASES
from study.spec import Study

FOLDER = "tensorboard"
BEST = "best/val_accuracy"
SECONDS = "total/seconds"
# Column of a row -> tag and description. TensorBoard shows train and val of one quantity in one group of charts.
_ACCURACY = "accuracy, 0 to 1"
_NATS = "cross-entropy in nats per image, without penalty and label smoothing; ln K for uniform predictions"
_TAGS = {
    "train_accuracy": ("accuracy/train", f"{_ACCURACY}, on a fixed sample of the training fold, without augmentation"),
    "val_accuracy": ("accuracy/val", f"{_ACCURACY}, on the validation fold"),
    "train_cross_entropy": ("cross_entropy/train", _NATS),
    "val_cross_entropy": ("cross_entropy/val", _NATS),
    "penalty": ("loss/penalty", "the regularizer's part of the training loss, in nats"),
    "learning_rate": ("optimizer/learning_rate", "of the head, in this epoch"),
    "images_per_second": ("speed/images_per_second", "training images per second"),
}


class EventFiles:
    """Event files in one folder per trial below OUT/tensorboard, written with every row.

    The event files of a resumed trial are written again from the first row.

    Args:
        metric: the validation metric that selects epochs and settings.
    """

    def __init__(self, out: Path, study: Study, metric: str = "val_accuracy") -> None:
        self.folder = out / FOLDER
        self.study, self.metric = study, metric
        self.writers: dict[str, SummaryWriter] = {}
        self.written: dict[str, int] = {}
        if not self.folder.exists():
            with SummaryWriter(str(self.folder)) as writer:
                _add(writer, self._experiment())

    def hear(self, event: Event, record: Record) -> None:
        if event == "tested" or (event == "start" and record.status is not None):
            return  # the test of a trial is not part of its training
        trial = record.planned.trial
        writer = self.writers.get(trial) or self._begin(record)
        for epoch in sorted(record.rows):
            if epoch > self.written[trial]:
                _write_row(writer, record.rows[epoch])
                self.written[trial] = epoch
        if event == "end":
            self._end(record)

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()

    def _begin(self, record: Record) -> SummaryWriter:
        trial = record.planned.trial
        shutil.rmtree(self.folder / trial, ignore_errors=True)
        writer = self.writers[trial] = SummaryWriter(str(self.folder / trial))
        self.written[trial] = 0
        _add(writer, summary_v2.hparams_pb(self._values(record), trial_id=trial, start_time_secs=time.time()))
        return writer

    def _end(self, record: Record) -> None:
        writer = self.writers.pop(record.planned.trial)
        if record.best is not None:
            writer.add_scalar(BEST, record.best["val_accuracy"], record.best["epoch"])
            if self.metric != "val_accuracy":
                writer.add_scalar(f"best/{self.metric}", record.best[METRIC_COLUMN], record.best["epoch"])
            seconds = sum(row["seconds"] for row in record.rows.values())
            writer.add_scalar(SECONDS, seconds, len(record.rows))
        failed = record.status == "failed"
        _add(writer, _session_end(STATUS_FAILURE if failed else STATUS_SUCCESS))
        writer.close()

    def _experiment(self) -> Any:
        """Return the columns of the HParams table. It shows the first five, and columns with `differs` come first."""
        factors = [
            _column(name, summary_v2.Discrete(_levels(factor)), differs=True)
            for name, factor in self.study.factors.items()
        ]
        nuisances = [
            _column(name, summary_v2.RealInterval(0.0, float(nuisance.high)))
            for name, nuisance in self.study.nuisances.items()
        ]
        seeds = summary_v2.RealInterval(0.0, float(max(self.study.budget.repeats, self.study.budget.seeds_at_most)))
        others = [_column("phase", summary_v2.Discrete(list(PHASES))), _column("seed", seeds)]
        if self.study.goal == "published":
            names = dict.fromkeys(["-", *(published.name for published in self.study.published)])
            others.append(_column("published", summary_v2.Discrete(list(names)), differs=True))
        experiment = Experiment(
            hparam_infos=[*factors, *nuisances, *others], metric_infos=[metric.as_proto() for metric in self._metrics()]
        )
        return _summary(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))

    def _metrics(self) -> list[summary_v2.Metric]:
        best = summary_v2.Metric(f"best/{self.metric}", display_name=f"{self.metric}, best epoch (selects)")
        return [
            *([best] if self.metric != "val_accuracy" else []),
            summary_v2.Metric(BEST, display_name="validation accuracy, best epoch"),
            summary_v2.Metric(SECONDS, display_name="training time (s)"),
        ]

    def _values(self, record: Record) -> dict[str, Any]:
        """Return a trial's row of the HParams table.

        A column must have one type, or the plugin hides runs: text for factors, 0 for nuisances that do not exist.
        """
        planned = record.planned
        factors = {name: str(planned.factors.get(name, "-")) for name in self.study.factors}
        nuisances = {name: float(planned.nuisances.get(name, 0.0)) for name in self.study.nuisances}
        published = {"published": planned.published or "-"} if self.study.goal == "published" else {}
        return factors | nuisances | published | {"phase": planned.phase, "seed": float(planned.seed)}


def _levels(factor: Conditional) -> list[str]:
    """Return the values of a factor's column. A conditional factor also has "-", where it does not exist."""
    return [str(level) for level in factor.levels] + (["-"] if factor.when else [])


def _column(name: str, domain: summary_v2.Domain, differs: bool = False) -> HParamInfo:
    column = HParamInfo(name=name, differs=differs)
    domain.update_hparam_info(column)
    return column


def _write_row(writer: SummaryWriter, row: dict[str, Any]) -> None:
    for name, (tag, description) in _TAGS.items():
        writer.add_scalar(tag, row[name], row["epoch"], summary_description=description)
    writer.flush()


def _session_end(status: int) -> Summary:
    end = SessionEndInfo(status=status, end_time_secs=time.time())
    return _summary(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))


def _summary(tag: str, data: HParamsPluginData) -> Summary:
    data.version = metadata.PLUGIN_DATA_VERSION
    summary = Summary()
    value = summary.value.add(tag=tag)
    value.metadata.CopyFrom(metadata.create_summary_metadata(data))
    value.tensor.CopyFrom(metadata.NULL_TENSOR)
    return summary


def _add(writer: SummaryWriter, summary: Any) -> None:
    """Write a summary. tensorboardX has its own protobuf classes, with the same wire format as TensorBoard's."""
    assert writer.file_writer is not None
    writer.file_writer.add_summary(XSummary.FromString(summary.SerializeToString()))
