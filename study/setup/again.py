"""Prepare to train the setting of a finished study again, on its own images or on new ones. Nothing is written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from study.declared import shortened
from study.estimates.resources import local_cpus, local_gpus
from study.estimates.sharing import depth_of, parts_of
from study.messages import log
from study.results import MANIFEST_FILE, STUDY_FILE
from study.setup.data_lines import counted_lines, layout_lines, special_lines
from study.setup.prepare import check_folders, check_on_data, progress
from trainables.augmentation.policies import POLICIES
from trainables.config import TrialConfig, from_dict
from trainables.data.datasets import DATASETS, find, read_manifest
from trainables.data.manifest import Source, manifest_hash
from trainables.data.pixels import check_fits
from trainables.data.splits import add_folds, divide
from trainables.data.unseen import set_aside
from trainables.errors import InputError
from trainables.nets.arithmetic import choose_precision, computes_bfloat16
from trainables.nets.weights import check_known, file_hash
from trainables.nets.weights import find as find_weights
from trainables.place import Place


@dataclass(frozen=True)
class Found:
    """What a finished study found: its setting, and the images that it was found on."""

    config: TrialConfig  # of the shipped model, before any retraining on the validation fold
    question: str
    dataset: str
    unseen: float
    data: Path
    test: Path | None
    weights: Path | None


@dataclass(frozen=True)
class Again:
    """A setting and images, ready to be trained."""

    config: TrialConfig  # its seed is that of the shipped model
    place: Place  # its manifest is the study's
    manifest: pd.DataFrame
    question: str  # of the study
    lines: list[str]  # about the images


def read_found(out: Path, shipped: Mapping[str, Any]) -> Found:
    """Return what the study in `out` found.

    Args:
        shipped: the shipped model's trial and config, see `read_trial`.

    Raises:
        InputError: study.json or the config is damaged.
    """
    try:
        study: dict[str, Any] = json.loads((out / STUDY_FILE).read_text(encoding="utf-8"))
        place, config = study["place"], dict(shipped["config"])
        if config["trains_on"] == "train+val":  # then its epochs were chosen by the seeds before
            config |= {"trains_on": "train", "epochs": study["budget"]["epochs"]}
        return Found(
            config=from_dict(config),
            question=study["question"],
            dataset=study["dataset"],
            unseen=study["unseen"],
            data=Path(place["data"]),
            test=Path(place["test"]) if place["test"] else None,
            weights=Path(place["weights"]) if place["weights"] else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        why = problem if isinstance(problem, InputError) else repr(problem)
        raise InputError(
            f"OUT must be a finished study, but {str(out)!r} cannot be read as one ({why}): run it with --resume."
        ) from None


def prepare_again(found: Found, data: Path | None, weights: Path | None, cache: Path, epochs: int | None) -> Again:
    """Read the images, find the weights, and fit the setting to both.

    Args:
        data: the images; None: those of the study.
        weights: a folder of pretrained weights; None: as in the study.
        epochs: None: as in the study.

    Raises:
        InputError: the images or the weights are missing, or do not fit the setting.
    """
    config = _on_this_machine(found.config)
    if epochs is not None:
        config = from_dict(shortened(config.to_dict(), epochs) | {"epochs": epochs})
    check_folders(weights, cache)
    folder = weights or (found.weights if found.weights and found.weights.is_dir() else None)
    _check_weights(config, folder)
    is_own, data = data is None or data.absolute() == found.data, data or found.data
    source = _source(found, data, is_own)
    title = DATASETS[found.dataset].title if is_own else str(data)
    manifest = read_manifest(found.dataset, data, None, progress(title), cache, source)
    if is_own:
        manifest, _ = set_aside(manifest, found.unseen)
    levels, seed, official = config.split_levels.split(","), config.study_seed, config.official_split
    manifest = add_folds(manifest, levels, seed, official, len(levels) > 1)
    check_on_data(config.to_dict(), manifest)
    check_fits(manifest, config.stored_side, None)
    folds = divide(manifest, levels, seed, official=official, test_folds=config.test_folds)
    largest = max(len(train) for train in folds.train.values())
    config = replace(config, manifest=manifest_hash(manifest), steps_per_epoch=-(-largest // config.batch_size))
    lines = [*counted_lines(manifest, official, layout_lines(source)), *special_lines(manifest)]
    if config == found.config:
        lines.append("these are the images of the study: a seed that confirmed this setting gives the same rows again")
    place = Place(Path(MANIFEST_FILE), data.absolute(), cache.absolute(), weights=folder, stored=_worth_storing(config))
    return Again(config, place, manifest, found.question, lines)


def _on_this_machine(config: TrialConfig) -> TrialConfig:
    """Return the config for one process on the study's kind of device, or on the CPU if there is no GPU here."""
    if config.workers > 1:
        log.warning("The study trained with %d workers, this is one: results may differ in rounding.", config.workers)
    config = replace(config, workers=1)
    if config.device == "cpu" or local_gpus():
        return config
    log.warning("The study ran on a GPU, and this machine has none: results will differ from the study's.")
    bfloat16 = computes_bfloat16("cpu")
    return replace(
        config,
        device="cpu",
        threads=local_cpus(),
        precision=choose_precision("cpu", bfloat16, config.backbone, frozen=False),
        frozen_precision=choose_precision("cpu", bfloat16, config.backbone, frozen=True),
    )


def _check_weights(config: TrialConfig, folder: Path | None) -> None:
    check_known(config.backbone)
    if config.weights == "pretrained" and file_hash(find_weights(config.backbone, folder)) != config.weights_hash:
        raise InputError(
            f"The weights of {config.backbone} have changed since the study: pass the folder of the original weights "
            "as --weights."
        )


def _source(found: Found, data: Path, is_own: bool) -> Source:
    """Return the candidate images. Other data may have the layout of the study's, or any layout of a `folder` study."""
    if not data.exists() or (data.is_dir() and not any(data.iterdir())):
        missing = "is empty" if data.exists() else "does not exist"
        raise InputError(f"The data must be a folder of images or a CSV file, but {data} {missing}: give --data.")
    if is_own:
        return find(found.dataset, data, found.test)
    try:
        return find(found.dataset, data)
    except InputError:
        if found.dataset == "folder":
            raise
        log.info("%s does not look like the data of the study: it is read as in the study `folder`.", data)
        return find("folder", data)


def _worth_storing(config: TrialConfig) -> frozenset[tuple[str, str]]:
    """Return the cuts of the frozen parts, if all epochs use the same views of the images."""
    if POLICIES[config.augmentation] is not None:
        return frozenset()
    depths = {depth_of(part) for part, _ in parts_of(config, config.epochs)} - {"all"}
    return frozenset((config.backbone, depth) for depth in depths)
