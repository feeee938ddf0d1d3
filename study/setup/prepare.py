"""Prepare a study to run: read the data, find the weights, check everything, and write nothing."""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from study.arguments import DEFAULT_SEED, Flags
from study.design.load import Loaded
from study.design.plan import examples
from study.design.settings import Base, effective
from study.estimates.cost_inputs import CostInputs, cost_inputs, measured
from study.estimates.costs import estimate, fit, wall_seconds
from study.estimates.resources import Resources, local_gpus
from study.estimates.sharing import worth_storing
from study.messages import is_quiet, log
from study.setup.asked import as_asked, consequences
from study.setup.data_lines import layout_lines
from study.spec import Budget, Study
from study.writing import can_be_written
from trainables.data.datasets import DATASETS, find, read_manifest
from trainables.data.manifest import data_folder, manifest_hash
from trainables.data.pixels import check_fits
from trainables.data.splits import add_folds, divide
from trainables.data.unseen import set_aside
from trainables.errors import InputError
from trainables.fields import check_share
from trainables.nets.arithmetic import computes_bfloat16
from trainables.place import Place

# Above this estimated run time in seconds the rates of this machine are measured, which takes seconds itself.
_WORTH_MEASURING = 600
# Above this ratio of the largest to the smallest class, accuracy says little about small classes.
_UNEQUAL = 3


@dataclass(frozen=True)
class Prepared:
    """A study with its data, ready to be planned and run."""

    name: str
    study: Study
    manifest: pd.DataFrame  # with folds
    base: Base
    place: Place
    test: Path | None
    out: Path
    inputs: CostInputs
    declared: Budget | None = None  # of the study file, before any flag
    unseen: pd.DataFrame | None = None  # manifest of the classes set aside; None on a resume, which has it on disk
    layout: Sequence[str] = ()  # lines about how the data was read; empty on a resume


def prepare_study(
    loaded: Loaded,
    flags: Flags,
    resources: Resources,
    out: Path,
    has_bfloat16: Callable[[str], bool] = computes_bfloat16,
) -> Prepared:
    """Read the data and find the weights. Nothing is written.

    Args:
        has_bfloat16: returns whether a device computes in bfloat16 on the machines that run the trials, by default on
            this machine.

    Raises:
        InputError: something is wrong with the flags, the data or the weights.
    """
    began = time.monotonic()
    study = as_asked(loaded.study, flags)
    if flags.test is not None and study.budget.test_folds:
        raise InputError(f"With `test_folds` every image is tested once, but got --test {flags.test}: leave one out.")
    seed = DEFAULT_SEED if flags.seed is None else flags.seed
    data = loaded.data(flags.data)
    start = "none" if flags.weights == "none" else "pretrained"
    check_nets(study, resources.workers)
    folder = Path(flags.weights) if flags.weights not in (None, "none") else None
    check_folders(folder, flags.cache)
    hashes = weight_hashes(study, folder)
    dataset = DATASETS[study.dataset]
    if flags.download:
        if dataset.download is None:
            raise InputError(
                f"--download does not support {dataset.title}: download it yourself and put it into {data}."
            )
        dataset.download(data)
    log.debug("Reading the images in %s", data)
    source = find(study.dataset, data, flags.test)
    manifest = read_manifest(study.dataset, data, flags.test, progress(dataset.title), flags.cache, source)
    manifest, unseen = set_aside(manifest, study.unseen)
    levels, official = study.split_levels(), study.uses_official_split()
    manifest = add_folds(manifest, levels, seed, official, "split" in study.factors)
    folds = divide(manifest, levels, seed, official=official, test_folds=study.budget.test_folds)
    device = "cuda" if resources.gpus else "cpu"
    base = Base(
        manifest=manifest_hash(manifest),
        study_seed=seed,
        largest_train=max(len(train) for train in folds.train.values()),
        classes=int(manifest["label"].max()) + 1,
        stored_side=_stored_side(study),
        device=device,
        workers=resources.workers,
        threads=resources.threads,
        has_bfloat16=has_bfloat16(device),
        weights=start,
        weights_hashes=hashes,
        metric=study.metric or metric_for(manifest),
        validation_images=len(folds.val),
        test_images=len(folds.test),
    )
    check_fits(manifest, base.stored_side, flags.cache_gib)
    place = Place(
        manifest=(out / "manifest.parquet").absolute(),
        data=data.absolute(),
        cache=flags.cache.absolute(),
        cache_gib=flags.cache_gib,
        weights=folder.absolute() if folder else None,
    )
    for values in nets(study, "loss", "region"):
        check_on_data(values, manifest)
    inputs = cost_inputs(study, manifest, base, resources, place, not flags.no_sharing)
    is_long = wall_seconds(estimate(study, inputs), inputs.workers) > _WORTH_MEASURING or flags.hours is not None
    if (is_long or flags.dry_run) and (device == "cpu" or local_gpus()):
        log.debug("Measuring the speed of this machine")
        inputs = measured(inputs, study)
    if flags.hours is not None:
        taken = (time.monotonic() - began) / 3600  # with many images reading them takes minutes
        study = fit(study, inputs, flags.hours, taken, keeps_refine=flags.refine is not None)
    place = replace(place, stored=worth_storing(study, inputs))
    for line in consequences(loaded.study, study):
        log.info(line)
    return Prepared(
        name=loaded.name,
        study=study,
        manifest=manifest,
        base=base,
        place=place,
        test=flags.test,
        out=out,
        inputs=inputs,
        declared=loaded.study.budget,
        unseen=unseen,
        layout=layout_lines(source),
    )


def metric_for(manifest: pd.DataFrame) -> str:
    """Return the metric of a study that names none: accuracy, or balanced accuracy if class sizes differ a lot."""
    images = manifest[manifest["keep"]].groupby("label").size()
    return "val_balanced_accuracy" if images.max() > _UNEQUAL * images.min() else "val_accuracy"


def check_folders(weights: Path | None, cache: Path) -> None:
    """Check the folders of weights and cache.

    Raises:
        InputError: the weights are not a folder, or the cache is not writable.
    """
    if weights is not None and not weights.is_dir():
        raise InputError(f"--weights must be a folder of weight files or 'none', but got {weights}.")
    if not can_be_written(cache):
        raise InputError(f"--cache {cache} cannot be written: choose a folder that you can write to.")


def check_pictures(manifest: pd.DataFrame, data: Path) -> None:
    """Check that every image of the study still exists with the same size.

    Raises:
        InputError: an image is missing or has changed.
    """
    kept = manifest[manifest["keep"]]
    for path, size in zip(kept["path"], kept["bytes"], strict=True):
        file = data_folder(data) / path
        if not file.is_file() or file.stat().st_size != size:
            raise InputError(
                f"Image {file} is missing or has changed since the study began: restore it, or pass --data."
            )


def nets(study: Study, *names: str) -> list[dict[str, Any]]:
    """Return every combination of backbone, start and the named fields that some trial may have."""
    fields = ("backbone", "weights", *names)
    trials = [effective(study, planned.factors) for planned in examples(study, *fields)]
    combined = [{name: values.get(name) for name in fields} for values in trials]
    return [values for number, values in enumerate(combined) if values not in combined[:number]]


def check_nets(study: Study, workers: int) -> None:
    """Check that every backbone supports its size, unfreeze depth, regularizer and batch size. This needs no images.

    Raises:
        InputError: a backbone is unknown or does not support one of them.
    """
    from trainables.nets.models import check_depth, check_drop_path, check_size
    from trainables.nets.weights import check_known
    from trainables.nets.work import check_runs

    for values in nets(study):
        check_known(values["backbone"])
    for values in nets(study, "size"):
        check_size(values["backbone"], values["size"])
        check_runs(values["backbone"], values["size"])
    for values in nets(study, "unfreeze"):
        check_depth(values["backbone"], values["unfreeze"])
    for values in nets(study, "regularizer"):
        if values["regularizer"] == "drop_path":
            check_drop_path(values["backbone"])
    for values in nets(study, "batch_size", "micro_batch"):
        check_share({"batch_size": values["batch_size"], "micro_batch": values["micro_batch"], "workers": workers})


def weight_hashes(study: Study, folder: Path | None) -> dict[str, str]:
    """Return the hash of every file of pretrained weights that the study will use, by backbone.

    Raises:
        InputError: the weights of a backbone are not found.
    """
    from trainables.nets.weights import file_hash, find

    pretrained = [values["backbone"] for values in nets(study) if values["weights"] == "pretrained"]
    return {backbone: file_hash(find(backbone, folder)) for backbone in pretrained}


def _stored_side(study: Study) -> int:
    """Return the shorter side of stored images, in pixels. It is large enough for the largest evaluation view."""
    from trainables.nets.models import crop_share

    return max(math.ceil(values["size"] / crop_share(values["backbone"])) for values in nets(study, "size"))


def check_on_data(values: Mapping[str, Any], manifest: pd.DataFrame) -> None:
    """Check that these images support the `loss` and the `region` of a trial.

    Raises:
        InputError: they do not.
    """
    classes = int(manifest["label"].max()) + 1
    if values["loss"] == "binary_cross_entropy" and classes != 2:
        raise InputError(
            f"The loss binary_cross_entropy needs two classes, but there are {classes}: leave it out, or use other "
            "images."
        )
    if values["region"] == "box" and not ("box_left" in manifest and manifest["box_left"].notna().any()):
        raise InputError(
            "The region 'box' needs images with boxes, but these have none: leave it out, or use other images."
        )


def progress(title: str) -> Callable[[int, int], None]:
    """Return a function that counts the images on one line of a terminal while they are read."""

    def show(done: int, of: int) -> None:
        if sys.stderr.isatty() and not is_quiet() and (done % 50 == 0 or done == of):
            end = "\n" if done == of else ""
            print(f"\r{title}: {done:,} of {of:,} files read", end=end, file=sys.stderr, flush=True)

    return show
