"""From flags to a study that is ready to run: data read, weights found, everything checked, nothing written."""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from study.arguments import DEFAULT_SEED
from study.design.load import Loaded
from study.design.plan import examples
from study.design.settings import Base, effective, from_scratch
from study.estimates.cost_inputs import CostInputs, cost_inputs, measured
from study.estimates.costs import estimate, fit, wall_seconds
from study.estimates.resources import Resources, local_gpus
from study.estimates.sharing import worth_storing
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

# Of a study that the table says to take longer, in seconds, the machine's own rates are worth seconds to measure.
_WORTH_MEASURING = 600
# Above this ratio of the largest class to the smallest, accuracy says little of the small ones.
_UNEQUAL = 3


@dataclass(frozen=True)
class Prepared:
    """A study on its data: all that is needed to plan it, run it, or tell what it would cost."""

    name: str
    study: Study
    manifest: pd.DataFrame  # with folds
    base: Base
    place: Place
    test: Path | None
    out: Path
    inputs: CostInputs
    declared: Budget | None = None  # what the study's file says, before any flag
    unseen: pd.DataFrame | None = None  # manifest of the classes set aside; of a study that goes on it is written
    found: Sequence[str] = ()  # lines on how the data was read; a study that goes on has said them


def as_asked(study: Study, chosen: argparse.Namespace) -> Study:
    """The study as its flags make it: what --published, --weights none, --trials, --epochs and --seeds say."""
    if chosen.seeds is not None:
        study = replace(study, budget=replace(study.budget, seeds=chosen.seeds))
    if chosen.published:
        study = study.as_published(chosen.epochs)
    elif chosen.epochs is not None:
        study = _with_epochs(study, chosen.epochs)
    if chosen.trials is not None:
        study = replace(study, budget=replace(study.budget, trials=chosen.trials))
    return from_scratch(study) if chosen.weights == "none" else study


def _with_epochs(study: Study, epochs: int) -> Study:
    try:
        return study.at_most(epochs)
    except InputError as problem:
        fewest = study.fewest_epochs()
        raise InputError(f"--epochs {epochs}: {problem} The study as it stands needs {fewest}.") from None


def consequences(study: Study, asked: Study) -> list[str]:
    """A line for whatever the flags change of what the study's file says besides its budget."""
    changed = [
        f"{name} {value} instead of {study.fixed[name]}"
        for name, value in asked.fixed.items()
        if study.fixed.get(name, value) != value
    ]
    if asked.goal == "published":
        before = {each.name: each.differs for each in study.published}
        said = Counter(one for each in asked.published for one in each.differs if one not in before[each.name])
        changed += [f"{one}, in {count} of the published configurations" for one, count in said.items()]
    return [f"As the flags ask: {one}." for one in [*changed, *asked.unfit()]]


def prepare(
    loaded: Loaded,
    chosen: argparse.Namespace,
    resources: Resources,
    out: Path,
    has_bfloat16: Callable[[str], bool] = computes_bfloat16,
) -> Prepared:
    """Read the data and find the weights. `has_bfloat16` says it of a device where trials run, by default here.

    Raises:
        InputError: whatever is wrong with either, before anything is written.
    """
    study = as_asked(loaded.study, chosen)
    if chosen.test is not None and study.budget.test_folds:
        raise InputError(f"With `test_folds` all images test in turn, but got --test {chosen.test}: leave one out.")
    seed = DEFAULT_SEED if chosen.seed is None else chosen.seed
    data = loaded.data(chosen.data)
    start = "none" if chosen.weights == "none" else "pretrained"
    check_nets(study, resources.workers)
    folder = Path(chosen.weights) if chosen.weights not in (None, "none") else None
    check_folders(folder, chosen.cache)
    hashes = weight_hashes(study, folder)
    dataset = DATASETS[study.dataset]
    if chosen.download:
        if dataset.download is None:
            raise InputError(f"--download cannot fetch {dataset.title}: place it into {data} by hand.")
        dataset.download(data)
    source = find(study.dataset, data, chosen.test)
    manifest = read_manifest(study.dataset, data, chosen.test, _progress(dataset.title), chosen.cache, source)
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
    )
    check_fits(manifest, base.stored_side, chosen.cache_gib)
    place = Place(
        manifest=(out / "manifest.parquet").absolute(),
        data=data.absolute(),
        cache=chosen.cache.absolute(),
        cache_gib=chosen.cache_gib,
        weights=folder.absolute() if folder else None,
    )
    _check_on_data(study, base, manifest)
    inputs = cost_inputs(study, manifest, base, resources, place, not chosen.no_sharing)
    long = wall_seconds(estimate(study, inputs, seed), inputs.workers) > _WORTH_MEASURING or chosen.hours is not None
    if (long or chosen.dry_run) and (device == "cpu" or local_gpus()):
        inputs = measured(inputs, study, base)
    if chosen.hours is not None:
        study = fit(study, inputs, chosen.hours, seed)
    place = replace(place, stored=worth_storing(study, inputs, seed))
    for line in consequences(loaded.study, study):
        print(line, file=sys.stderr)
    return Prepared(
        loaded.name,
        study,
        manifest,
        base,
        place,
        chosen.test,
        out,
        inputs,
        declared=loaded.study.budget,
        unseen=unseen,
        found=layout_lines(source),
    )


def metric_for(manifest: pd.DataFrame) -> str:
    """Of a study that names none: accuracy, but of unequal classes the mean of theirs."""
    pictures = manifest[manifest["keep"]].groupby("label").size()
    return "val_balanced_accuracy" if pictures.max() > _UNEQUAL * pictures.min() else "val_accuracy"


def check_folders(weights: Path | None, cache: Path) -> None:
    """Refuse folders that every trial would stumble over."""
    if weights is not None and not weights.is_dir():
        raise InputError(f"--weights must be a folder of weight files or 'none', but got {weights}.")
    if not can_be_written(cache):
        raise InputError(f"--cache {cache} cannot be written: choose a folder of your own.")


def check_pictures(manifest: pd.DataFrame, data: Path) -> None:
    """Refuse to go on where an image of the study is gone or has another size."""
    kept = manifest[manifest["keep"]]
    for path, size in zip(kept["path"], kept["bytes"], strict=True):
        file = data_folder(data) / path
        if not file.is_file() or file.stat().st_size != size:
            raise InputError(f"Image {file} is gone or changed since the study began: put it back, or give --data.")


def nets(study: Study, *names: str) -> list[dict[str, Any]]:
    """Every backbone that some trial may have, with the start and whatever else is named as its trials combine them."""
    asked = ("backbone", "weights", *names)
    found = [effective(study, planned.factors) for planned in examples(study, *asked)]
    each = [{name: values.get(name) for name in asked} for values in found]
    return [values for number, values in enumerate(each) if values not in each[:number]]


def check_nets(study: Study, workers: int) -> None:
    """Refuse what a backbone cannot follow, as far as neither images nor weights are needed to tell.

    Raises:
        InputError: a backbone is unknown, takes no such size, or has too few parts to unfreeze or to skip.
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
    for values in nets(study, "batch_size"):
        check_share({"batch_size": values["batch_size"], "workers": workers})


def weight_hashes(study: Study, folder: Path | None) -> dict[str, str]:
    """The hash of every pretrained file that the study will use, found on this machine."""
    from trainables.nets.weights import file_hash, find

    pretrained = [values["backbone"] for values in nets(study) if values["weights"] == "pretrained"]
    return {backbone: file_hash(find(backbone, folder)) for backbone in pretrained}


def _stored_side(study: Study) -> int:
    """The shorter side to keep decoded images at: what the largest evaluation view is cut from."""
    from trainables.nets.models import crop_share

    return max(math.ceil(values["size"] / crop_share(values["backbone"])) for values in nets(study, "size"))


def _check_on_data(study: Study, base: Base, manifest: pd.DataFrame) -> None:
    """Refuse what these images do not allow."""
    for values in nets(study, "loss", "region"):
        if values["loss"] == "binary_cross_entropy" and base.classes != 2:
            raise InputError(
                f"The loss binary_cross_entropy takes two classes, but there are {base.classes}: leave it out."
            )
        if values["region"] == "box" and not ("box_left" in manifest and manifest["box_left"].notna().any()):
            raise InputError("The region 'box' takes images with boxes, but these have none: leave it out.")


def _progress(title: str) -> Callable[[int, int], None]:
    """A line that counts the images while they are read, on a terminal."""

    def show(done: int, of: int) -> None:
        if sys.stderr.isatty() and (done % 50 == 0 or done == of):
            end = "\n" if done == of else ""
            print(f"\r{title}: {done:,} of {of:,} files read", end=end, file=sys.stderr, flush=True)

    return show
