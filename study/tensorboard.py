"""TensorBoard event files: clean tags, and the HParams plugin with each trial's best value."""

import shutil
import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2
from tensorboardX import SummaryWriter
from tensorboardX.proto import summary_pb2 as x_summary_pb2

from study.ledger import Record
from study.spec import Study

FOLDER = "tensorboard"
BEST = "best/val_accuracy"
# Row -> tag; TensorBoard lays train and val of one quantity into one chart group.
_TAGS = {
    "train_accuracy": "accuracy/train",
    "val_accuracy": "accuracy/val",
    "train_cross_entropy": "cross_entropy/train",
    "val_cross_entropy": "cross_entropy/val",
    "penalty": "loss/penalty",
    "learning_rate": "optimizer/learning_rate",
    "images_per_second": "speed/images_per_second",
}


class EventFiles:
    """One folder a trial under OUT/tensorboard, written as the rows come; a resumed trial's is written anew."""

    def __init__(self, out: Path, study: Study) -> None:
        self.folder = out / FOLDER
        self.study = study
        self.writers: dict[str, SummaryWriter] = {}
        self.written: dict[str, int] = {}
        if not self.folder.exists():
            with SummaryWriter(str(self.folder)) as writer:
                _add(writer, summary_v2.hparams_config_pb(self._hyperparameters(), [_metric()]))

    def hear(self, event: str, record: Record) -> None:
        if event == "tested" or (event == "start" and record.status is not None):
            return  # a look at the test fold is no part of the training that is shown here
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
        failed = record.status == "failed"
        _add(writer, _session_end(api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS))
        writer.close()

    def _hyperparameters(self) -> list[summary_v2.HParam]:
        factors = [
            summary_v2.HParam(name, summary_v2.Discrete([str(level) for level in factor.levels] + ["-"]))
            for name, factor in self.study.factors.items()
        ]
        nuisances = [
            summary_v2.HParam(name, summary_v2.RealInterval(0.0, nuisance.high))
            for name, nuisance in self.study.nuisances.items()
        ]
        return [*factors, *nuisances, summary_v2.HParam("phase"), summary_v2.HParam("seed")]

    def _values(self, record: Record) -> dict[str, Any]:
        """One type a column, or the plugin hides runs: text for factors, 0 for a strength that does not exist."""
        planned = record.planned
        factors = {name: str(planned.factors.get(name, "-")) for name in self.study.factors}
        nuisances = {name: float(planned.nuisances.get(name, 0.0)) for name in self.study.nuisances}
        return factors | nuisances | {"phase": planned.phase, "seed": float(planned.seed)}


def _metric() -> summary_v2.Metric:
    return summary_v2.Metric(BEST, display_name="best validation accuracy")


def _write_row(writer: SummaryWriter, row: dict[str, Any]) -> None:
    for name, tag in _TAGS.items():
        writer.add_scalar(tag, row[name], row["epoch"])
    writer.flush()


def _session_end(status: int) -> summary_pb2.Summary:
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=end, version=metadata.PLUGIN_DATA_VERSION)
    summary = summary_pb2.Summary()
    value = summary.value.add(tag=metadata.SESSION_END_INFO_TAG)
    value.metadata.CopyFrom(metadata.create_summary_metadata(data))
    value.tensor.CopyFrom(metadata.NULL_TENSOR)
    return summary


def _add(writer: SummaryWriter, summary: Any) -> None:
    """tensorboardX has protos of its own; the wire format is the same."""
    assert writer.file_writer is not None
    writer.file_writer.add_summary(x_summary_pb2.Summary.FromString(summary.SerializeToString()))
