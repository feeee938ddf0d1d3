"""Images per second of training, beside the same steps on a tensor that never changes: what data costs a trial.

    python -m tests.benchmarks.throughput --data images --backbones mobilenetv2_100,resnet50

For each backbone and depth: an epoch that computes what is frozen and makes its views, one that finds them stored, and
the same optimizer steps on one batch that stays on the device. Weights are random: they change no speed.
"""

import argparse
import itertools
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from trainables.config import TrialConfig
from trainables.data.datasets import read_manifest
from trainables.data.splits import add_folds
from trainables.data.trial_data import open_trial_data
from trainables.learning.inputs import Inputs, views_of_epoch
from trainables.learning.optimizers import build_optimizer
from trainables.learning.training import Training, train_epoch
from trainables.nets.arithmetic import choose_precision, computes_bfloat16
from trainables.place import Place
from trainables.trial import build_inputs

SPLIT = "70-15-15"


Device = Literal["cpu", "cuda"]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.throughput", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="images, one folder a class")
    parser.add_argument("--backbones", default="mobilenetv2_100,efficientnet_b0,resnet50,densenet121")
    parser.add_argument("--depths", default="head,last stage,all")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    chosen = parser.parse_args(arguments)
    device: Device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder) / "manifest.parquet", chosen.data.resolve(), Path(folder) / "cache")
        manifest = read_manifest("folder", chosen.data)
        add_folds(manifest, [SPLIT], 0, False, False).to_parquet(place.manifest)
        for backbone, depth in itertools.product(chosen.backbones.split(","), chosen.depths.split(",")):
            config = make_config(backbone, depth, device, chosen)
            rows.append({"backbone": backbone, "depth": depth} | measure(config, place))
            print(pd.DataFrame(rows[-1:]).to_string(index=False, float_format="%.3g"), flush=True)
    name = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} thread of a CPU"
    print(f"\nPictures per second at {chosen.size} px, batch {chosen.batch}, on {name}:")
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.3g"))


def make_config(backbone: str, depth: str, device: Device, chosen: argparse.Namespace) -> TrialConfig:
    has_bfloat16 = computes_bfloat16(device)
    return TrialConfig(
        manifest="", split=SPLIT, split_levels=SPLIT, official_split=False, study_seed=0, backbone=backbone,
        weights="none", unfreeze=depth, size=chosen.size, stored_side=round(chosen.size / 0.875), augmentation="light",
        epochs=10, steps_per_epoch=chosen.steps, batch_size=chosen.batch, learning_rate=1e-4, device=device,
        precision=choose_precision(device, has_bfloat16, backbone, frozen=False),
        frozen_precision=choose_precision(device, has_bfloat16, backbone, frozen=True),
    )  # fmt: skip


def measure(config: TrialConfig, place: Place) -> dict[str, float]:
    """Each kind of epoch in turn after one that warms up, in images per second."""
    shared = replace(place, stored=frozenset({(config.backbone, config.unfreeze)}))
    computed, stored = (build_inputs(config, each, open_trial_data(config, each)) for each in (place, shared))
    still = build_inputs(config, shared, open_trial_data(config, shared))
    rate = {}
    for name, inputs in (("stored", stored), ("computed", computed)):
        training = Training(inputs, build_optimizer(config, inputs.net))
        train_epoch(training, 1)  # fills the store, too
        rate[name] = pictures_per_second(training, epoch=1)
    training = Training(with_one_batch(still), build_optimizer(config, still.net))
    train_epoch(training, 1)
    rate["never changing"] = pictures_per_second(training, epoch=1)
    return rate | {"stored / never changing": rate["stored"] / rate["never changing"]}


def with_one_batch(inputs: Inputs) -> Inputs:
    """The same batch in every step, on the device already."""
    activations = inputs.activations
    items = inputs.data.train[: inputs.config.batch_size]
    rows = next(activations.batches(views_of_epoch(inputs.config, items, items * 0, 1), len(items), inputs.data.pool))
    batch = activations.to_device(rows)
    # Of this instance alone.
    vars(activations).update(
        batches=lambda *_: itertools.repeat(rows, inputs.config.steps_per_epoch), to_device=lambda _: batch
    )
    return inputs


def pictures_per_second(training: Training, epoch: int) -> float:
    config, began = training.inputs.config, time.perf_counter()
    train_epoch(training, epoch)
    if config.device == "cuda":
        torch.cuda.synchronize()
    return config.steps_per_epoch * config.batch_size / (time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1:])
