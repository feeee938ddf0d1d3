"""The gates through the code that trials run: sound nets pass, and what is broken fails its own gate."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images

from tests.images import COLORS, config, make_place, noisy
from tests.trees import class_folders, encoded, put
from trainables import preflight, trial
from trainables.augmentation.views import InputContract
from trainables.config import TrialConfig
from trainables.data.datasets import read_manifest
from trainables.data.splits import add_folds
from trainables.data.trial_data import open_trial_data_of
from trainables.learning import training
from trainables.nets import divided
from trainables.nets.models import Net
from trainables.nets.weights import file_hash, find
from trainables.place import Place
from trainables.preflight import Findings, examine, memory_needed, sample_of

LEVEL = "60-20-20"
pytestmark = pytest.mark.usefixtures("restored_threads")


def test_the_sample_has_one_of_each_duplicate_group_and_a_bounded_size() -> None:
    manifest = pd.DataFrame({"item": range(2000), "group": [i // 2 * 2 for i in range(2000)]})
    pool = np.arange(0, 1500)
    sample = sample_of(pool, manifest, 0)
    assert len(sample) == len(set(sample // 2)) == 512
    assert set(sample) <= set(pool)
    assert list(sample) == sorted(sample)
    assert list(sample_of(pool[:600], manifest, 0) // 2) == list(range(300))
    assert list(sample_of(pool, manifest, 1)) != list(sample)


def read(folder: Path) -> tuple[Place, pd.DataFrame]:
    manifest = add_folds(read_manifest("folder", folder / "data"), [LEVEL], 0, official=False, split_is_factor=False)
    return Place(folder / "none", folder / "data", folder / "cache", weights=folder), manifest


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, pd.DataFrame]:
    place = make_place(tmp_path_factory.mktemp("few"))
    return place, pd.read_parquet(place.manifest)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, pd.DataFrame]:
    """600 images of three colors, 360 to train on, and weights for one net."""
    folder, random = tmp_path_factory.mktemp("many"), np.random.default_rng(5)
    for name, color in COLORS.items():
        for i in range(200):
            put(folder / "data" / name / f"{i:03}.png", encoded(noisy(color, random, 20, 24)))
    torch.manual_seed(3)
    save_file(timm.create_model("test_resnet").state_dict(), folder / "test_resnet.safetensors")
    return read(folder)


def pretrained(place: Place, backbone: str = "test_resnet", **changes: Any) -> TrialConfig:
    values = {"backbone": backbone, "weights": "pretrained", "size": 32, "unfreeze": "head"} | changes
    return config(weights_hash=file_hash(find(backbone, place.weights)), **values)


def failed(findings: Findings) -> dict[str, str]:
    return {gate.name: gate.said for gate in findings.gates if not gate.passed}


def test_a_sound_net_from_random_numbers(few: tuple[Place, pd.DataFrame]) -> None:
    found = examine(config(regularizer="dropout", dropout=0.9, augmentation="strong"), ["all", "last 5 layers"], *few)
    assert failed(found) == {}
    names = [gate.name for gate in found.gates]
    assert names == [
        "input contract",
        "zero-shot identity",
        "linear probe",
        "label permutation",
        "first loss",
        "overfit",
        "frozen",
    ]
    assert found.images == len(open_trial_data_of(few[1], config(), few[0]).pool) == 27
    assert found.chance == pytest.approx(1 / 3)
    assert found.probe_accuracy is not None
    assert "not applicable: the net starts from random weights" in found.gates[1].said


def test_a_sound_pretrained_net(many: tuple[Place, pd.DataFrame]) -> None:
    found = examine(pretrained(many[0]), ["head", "last stage", "all"], *many)
    assert failed(found) == {}
    assert found.images == 360
    assert found.probe_accuracy is not None
    assert found.probe_accuracy > 0.5
    assert [gate.name for gate in found.gates].count("frozen") == 2
    assert examine(pretrained(many[0]), ["head", "last stage", "all"], *many) == found


@pytest.mark.parametrize("weights", ["pretrained", "none"])
@pytest.mark.parametrize("counts", [{"a": 3, "b": 3}, {f"class {i:02}": 3 for i in range(60)}, {"a": 40, "b": 3}])
def test_few_or_random_images_fail_nothing(
    weights: str, counts: dict[str, int], many: tuple[Place, pd.DataFrame], tmp_path: Path
) -> None:
    class_folders(tmp_path / "data", counts)  # no image has to do with its class
    place, manifest = read(tmp_path)
    place = replace(place, weights=many[0].weights)
    chosen = pretrained(place) if weights == "pretrained" else config(backbone="test_efficientnet", size=32)
    assert failed(examine(chosen, ["head"], place, manifest)) == {}


def test_stored_features_are_those_that_trials_look_for(few: tuple[Place, pd.DataFrame], tmp_path: Path) -> None:
    chosen = config(backbone="test_resnet", unfreeze="head", size=32, epochs=1)
    place = replace(few[0], cache=tmp_path, stored=frozenset({("test_resnet", "head")}))
    examine(chosen, ["head"], place, few[1])
    [unit] = tmp_path.rglob("*.safetensors")
    written = unit.stat().st_mtime_ns
    list(trial.run_trial(chosen, place))
    assert unit.stat().st_mtime_ns == written
    assert len(list(tmp_path.rglob("*.safetensors"))) > 1  # the validation's beside it


# What is broken, and which gate says so.


def test_a_wrong_mean(few: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    typed = InputContract((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic", 1.0)
    monkeypatch.setattr("trainables.frozen.activations.input_contract", lambda backbone: typed)
    assert set(failed(examine(config(), ["all"], *few))) == {"input contract"}


def test_a_head_that_does_not_start_at_zero(few: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    class Net(divided.Net):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            torch.manual_seed(1)
            self.head.reset_parameters()

    monkeypatch.setattr(divided, "Net", Net)
    assert set(failed(examine(config(), ["all"], *few))) == {"first loss"}


def test_shuffled_images(many: tuple[Place, pd.DataFrame]) -> None:
    place, manifest = many
    shuffled = manifest.assign(label=np.random.default_rng(2).permutation(manifest["label"]))
    found = failed(examine(pretrained(place), ["head"], place, shuffled))
    assert set(found) == {"linear probe"}
    assert "images and labels may not match" in found["linear probe"]


def test_a_probe_that_sees_what_it_must_predict(
    many: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "leave_one_out", lambda hats, labels: labels)
    assert set(failed(examine(pretrained(many[0]), ["head"], *many))) == {"label permutation"}


def test_training_that_moves_nothing(few: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "schedule", lambda config, step: 0.0)
    found = failed(examine(config(), ["all"], *few))
    assert set(found) == {"overfit"}
    assert "3 at learning rate 0.001" in found["overfit"]  # of eight images of three classes the first class's


def test_a_frozen_batch_norm_in_training_mode(few: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = config(backbone="test_resnet", size=32)
    depths = ["last 3 layers"]  # what is behind the cut has norms that do not train
    assert failed(examine(chosen, depths, *few)) == {}
    monkeypatch.setattr(training, "train_mode", lambda net: net.train())
    found = failed(examine(chosen, depths, *few))
    assert set(found) == {"frozen"}
    assert "running_mean" in found["frozen"]


def test_a_frozen_layer_that_trains(few: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(divided, "unfreeze", lambda net, body, depth: net.requires_grad_(True))
    found = failed(examine(config(backbone="test_resnet", size=32), ["last 3 layers"], *few))
    assert set(found) == {"frozen"}


def test_features_that_are_no_numbers(many: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_pooled", lambda inputs, items: np.full((len(items), 3), np.inf))
    found = examine(pretrained(many[0]), ["head"], *many)
    assert set(failed(found)) == {"linear probe"}
    assert found.probe_accuracy is None


@pytest.fixture(scope="module")
def palaces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, pd.DataFrame]:
    """Pieces of a photo of a palace and of one of a daisy."""
    folder = tmp_path_factory.mktemp("palaces")
    for name, photo in zip(("palace", "daisy"), load_sample_images().images, strict=True):
        for i in range(24):
            top, left = 6 * (i // 6), 15 * (i % 6)
            put(folder / "data" / name / f"{i:02}.png", encoded(photo[::2, ::2][top : top + 190, left : left + 240]))
    return read(folder)


def test_pretrained_weights_know_their_classes(palaces: tuple[Place, pd.DataFrame]) -> None:
    place, manifest = palaces
    chosen = pretrained(replace(place, weights=None), "tf_efficientnet_lite0", size=112, stored_side=128)
    place = replace(place, weights=None)
    assert failed(examine(chosen, ["head"], place, manifest)) == {}
    swapped = manifest.assign(label_name=manifest["label_name"].map({"palace": "daisy", "daisy": "palace"}))
    assert "zero-shot identity" in failed(examine(chosen, ["head"], place, swapped))


def test_a_step_of_a_whole_batch_is_measured_at_the_deepest_depth(
    few: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for a GPU, which counts the images of each pass with gradients."""
    batches: list[int] = []
    forward = Net.logits

    def counted(net: Net, features: torch.Tensor, *rest: Any) -> torch.Tensor:
        batches.extend([len(features)] if features.requires_grad else [])
        return forward(net, features, *rest)

    monkeypatch.setattr(Net, "logits", counted)
    for name in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 3_000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda: SimpleNamespace(total_memory=10_000))
    chosen = config(batch_size=8, unfreeze="all")
    data = open_trial_data_of(few[1], chosen, few[0])
    assert memory_needed(chosen, few[0], data) == 0.3
    assert batches == [8]
    monkeypatch.setattr(Net, "logits", out_of_memory)
    assert memory_needed(chosen, few[0], data) == math.inf


def out_of_memory(*_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory.")
