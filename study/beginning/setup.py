"""From flags to a study that is ready to run: data read, weights found, everything checked, nothing written."""

import argparse
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from study.arguments import DEFAULT_SEED
from study.design.load import Loaded
from study.design.plan import search_plan
from study.design.settings import Base, resolve, weights_of
from study.estimates.costs import estimate, fit, wall_seconds
from study.estimates.resources import Resources, local_gpus
from study.estimates.scale import Scale, measured, scale_of
from study.estimates.sharing import worth_storing
from study.spec import Study
from trainables.data.datasets import DATASETS, read_manifest
from trainables.data.manifest import data_folder, manifest_hash
from trainables.data.pixels import check_fits
from trainables.data.splits import add_folds, divide
from trainables.data.unseen import set_aside
from trainables.errors import InputError
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
    scale: Scale
    unseen: pd.DataFrame | None = None  # manifest of the classes set aside; of a study that goes on it is written


def with_budget(study: Study, chosen: argparse.Namespace) -> Study:
    """The study with the flags' trials, epochs and seeds in place of its own."""
    given = {name: getattr(chosen, name) for name in ("trials", "epochs", "seeds")}
    budget = replace(study.budget, **{name: value for name, value in given.items() if value is not None})
    return replace(study, budget=budget)


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
    study = with_budget(loaded.study, chosen)
    if chosen.published:
        study = study.as_published(chosen.epochs)
    if chosen.test is not None and study.budget.test_folds:
        raise InputError(f"With `test_folds` all pictures test in turn, but got --test {chosen.test}: leave one out.")
    seed = DEFAULT_SEED if chosen.seed is None else chosen.seed
    data = chosen.data or Path("data") / loaded.name
    start = "none" if chosen.weights == "none" else "pretrained"
    if start == "none":
        study = from_scratch(study)
    folder = Path(chosen.weights) if chosen.weights not in (None, "none") else None
    check_folders(folder, chosen.cache)
    hashes = weight_hashes(study, start, folder)
    dataset = DATASETS[study.dataset]
    if chosen.download:
        if dataset.download is None:
            raise InputError(f"--download cannot fetch {dataset.title}: place it into {data} by hand.")
        dataset.download(data)
    manifest = read_manifest(study.dataset, data, chosen.test, _progress(dataset.title))
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
        metric=study.metric or _metric_for(manifest),
    )
    check_fits(manifest, base.stored_side, chosen.cache_gib)
    place = Place(
        manifest=(out / "manifest.parquet").absolute(),
        data=data.absolute(),
        cache=chosen.cache.absolute(),
        cache_gib=chosen.cache_gib,
        weights=folder.absolute() if folder else None,
    )
    _check_settings(study, base)
    scale = scale_of(study, manifest, base, resources, place, not chosen.no_sharing)
    long = wall_seconds(estimate(study, scale, seed), scale.workers) > _WORTH_MEASURING or chosen.hours is not None
    if (long or chosen.dry_run) and (device == "cpu" or local_gpus()):
        scale = measured(scale, study, base)
    if chosen.hours is not None:
        study = fit(study, scale, chosen.hours, seed)
    place = replace(place, stored=worth_storing(study, scale, seed))
    return Prepared(loaded.name, study, manifest, base, place, chosen.test, out, scale, unseen)


def _metric_for(manifest: pd.DataFrame) -> str:
    """Of a study that names none: accuracy, but of unequal classes the mean of theirs."""
    pictures = manifest[manifest["keep"]].groupby("label").size()
    return "val_balanced_accuracy" if pictures.max() > _UNEQUAL * pictures.min() else "val_accuracy"


def check_folders(weights: Path | None, cache: Path) -> None:
    """Refuse folders that every trial would stumble over."""
    if weights is not None and not weights.is_dir():
        raise InputError(f"--weights must be a folder of weight files or 'none', but got {weights}.")
    above = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise InputError(f"--cache {cache} cannot be written: choose a folder of your own.")


def check_pictures(manifest: pd.DataFrame, data: Path) -> None:
    """Refuse to go on where a picture of the study is gone or has another size."""
    kept = manifest[manifest["keep"]]
    for path, size in zip(kept["path"], kept["bytes"], strict=True):
        file = data_folder(data) / path
        if not file.is_file() or file.stat().st_size != size:
            raise InputError(f"Picture {file} is gone or changed since the study began: put it back, or give --data.")


def weight_hashes(study: Study, start: str, folder: Path | None) -> dict[str, str]:
    """The hash of every pretrained file that the study will use, found on this machine."""
    from trainables.nets.weights import check_known, file_hash, find

    hashes = {}
    for values in _distinct_nets(study):
        check_known(values["backbone"])
        if weights_of(values, start) == "pretrained":
            hashes[values["backbone"]] = file_hash(find(values["backbone"], folder))
    return hashes


def _distinct_nets(study: Study) -> list[dict[str, Any]]:
    """Each backbone with each start from weights that the study combines it with."""
    backbones, starts = _values(study, "backbone", None), _values(study, "weights", "pretrained")
    if None in backbones:
        raise InputError("A study must name its `backbone`, in `fixed` or as a factor.")
    return [{"backbone": backbone, "weights": start} for backbone in backbones for start in starts]


def _values(study: Study, name: str, default: Any) -> list[Any]:
    """Everything that a hyperparameter can be in this study."""
    if study.goal == "published":
        return list(dict.fromkeys(each.config.get(name, study.fixed.get(name, default)) for each in study.published))
    if name not in study.factors:
        return [study.fixed.get(name, default)]
    factor = study.factors[name]
    return [*factor.levels, *([factor.otherwise] if factor.when else [])]


def from_scratch(study: Study) -> Study:
    """With --weights none a factor `weights` has one level left, and is none any more."""
    factors = {name: factor for name, factor in study.factors.items() if name != "weights"}
    if any("weights" in factor.when for factor in factors.values()):
        raise InputError("--weights none takes away the levels that other factors of this study depend on.")
    return replace(study, factors=factors)


def _stored_side(study: Study) -> int:
    """The shorter side to keep decoded pictures at: what the largest evaluation view is cut from."""
    from trainables.nets.models import crop_share

    shares = [crop_share(values["backbone"]) for values in _distinct_nets(study)]
    return max(math.ceil(size / share) for size in _values(study, "size", None) for share in shares)


def _check_settings(study: Study, base: Base) -> None:
    """Every setting of the plan must make a valid config that its backbone can follow."""
    from trainables.nets.models import check_depth, check_drop_path, check_size
    from trainables.nets.work import check_runs

    nets, dropping = set(), set()
    for planned in search_plan(study, min(study.budget.trials, 1000), base.study_seed):
        config = resolve(study, planned, base)
        nets.add((config.backbone, config.unfreeze, config.size))
        if config.drop_path is not None:
            dropping.add(config.backbone)
        if config.loss == "binary_cross_entropy" and base.classes != 2:
            raise InputError(
                f"The loss binary_cross_entropy takes two classes, but there are {base.classes}: leave it out."
            )
    for backbone, depth, size in sorted(nets):
        check_size(backbone, size)
        check_runs(backbone, size)
        check_depth(backbone, depth)
    for backbone in sorted(dropping):
        check_drop_path(backbone)


def _progress(title: str) -> Callable[[int, int], None]:
    """A line that counts the pictures while they are read, on a terminal."""

    def show(done: int, of: int) -> None:
        if sys.stderr.isatty() and (done % 50 == 0 or done == of):
            end = "\n" if done == of else ""
            print(f"\r{title}: {done:,} of {of:,} files read", end=end, file=sys.stderr, flush=True)

    return show
