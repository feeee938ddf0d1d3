"""Every gate passes what is sound, also where it is small or hard, and fails where what it guards is broken."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from sklearn.linear_model import Ridge

from tests.pictures import COLOURS, config, make_place, noisy
from tests.trees import class_folders, encoded, put
from trainables import examination, gates, training, trial
from trainables.config import TrialConfig
from trainables.datasets import read_manifest
from trainables.examination import Findings, examine, sample_of
from trainables.gates import Gate
from trainables.imagenet import imagenet_classes
from trainables.place import Place, open_pictures_of
from trainables.probe import STRENGTHS, hat_matrices, leave_one_out
from trainables.splits import add_folds
from trainables.views import InputContract
from trainables.weights import file_hash, find

LEVEL = "60-20-20"


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# -- the probe


@pytest.mark.parametrize("strength", range(len(STRENGTHS)))
def test_leaving_one_out_is_refitting_without_it(strength: int) -> None:
    random = np.random.default_rng(1)
    labels = np.array([3, 5, 5, 9] * 8)
    features = random.normal(0, 3, (32, 6)) + labels[:, None] * random.normal(0, 0.4, 6)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    penalty = STRENGTHS[strength] * np.linalg.svd(standard, compute_uv=False) ** 2 @ np.ones(6) / 32
    targets = np.eye(10)[labels]
    refitted = []
    for i in range(32):
        rest = np.arange(32) != i
        refitted.append(Ridge(alpha=penalty).fit(standard[rest], targets[rest]).predict(standard[[i]])[0].argmax())
    predicted = leave_one_out([hat_matrices(features)[strength]], labels)
    assert list(predicted) == refitted
    assert 0.3 < (predicted == labels).mean() < 1  # neither trivial


def test_a_probe_of_constant_features_guesses() -> None:
    labels = np.array([0, 0, 0, 1])
    assert list(leave_one_out(hat_matrices(np.ones((4, 3))), labels)) == [0, 0, 0, 0]


def test_the_sample_has_one_of_each_duplicate_group_and_a_bounded_size() -> None:
    manifest = pd.DataFrame({"item": range(2000), "group": [i // 2 * 2 for i in range(2000)]})
    pool = np.arange(0, 1500)
    sample = sample_of(pool, manifest, 0)
    assert len(sample) == len(set(sample // 2)) == 512
    assert set(sample) <= set(pool)
    assert list(sample) == sorted(sample)
    assert list(sample_of(pool[:600], manifest, 0) // 2) == list(range(300))
    assert list(sample_of(pool, manifest, 1)) != list(sample)


# -- what each gate says of its numbers

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "interpolation": "bicubic"}
IMAGENET |= {"input_size": (3, 224, 224)}


def views(low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(1).integers(low, high, (6, 8, 8, 3), dtype=np.uint8)


def normalised(made: np.ndarray, mean: Any = IMAGENET["mean"], std: Any = IMAGENET["std"]) -> torch.Tensor:
    return torch.from_numpy((made / 255 - np.array(mean)) / np.array(std)).permute(0, 3, 1, 2)


def says(gate: Gate, *parts: str) -> None:
    """A failed gate's sentence."""
    assert not gate.passed, gate.said
    assert all(part in gate.said for part in parts), gate.said
    assert "\n" not in gate.said
    assert not gate.said.endswith(".")


def test_the_input_contract() -> None:
    made = views()
    passed = gates.input_contract(IMAGENET, made, normalised(made))
    assert passed.passed
    assert "views of 8 px (weights: 224 px)" in passed.said
    assert "within -2.12 and 2.64" in passed.said  # (0 - 0.485) / 0.229 and (1 - 0.406) / 0.225
    dark = views(0, 90)
    assert gates.input_contract(IMAGENET, dark, normalised(dark)).passed
    scaled = IMAGENET | {"mean": (0.0, 0.0, 0.0), "std": (1 / 255,) * 3}  # nets that take 0 to 255
    assert gates.input_contract(scaled, made, torch.from_numpy(made).permute(0, 3, 1, 2)).passed


def test_an_input_that_breaks_the_contract() -> None:
    made = views(60, 190)
    says(gates.input_contract(IMAGENET, made, normalised(made, mean=(0.5, 0.5, 0.5))), "mean (0.485, 0.456, 0.406)")
    says(gates.input_contract(IMAGENET, made, normalised(made).flip(1)), "off by")  # blue, green, red
    says(gates.input_contract(IMAGENET, made, torch.from_numpy(made).permute(0, 3, 1, 2)), "-2.12 and 2.64", "to 189.0")
    says(gates.input_contract(IMAGENET, made, normalised(made) * torch.nan), "off by nan")
    flat = np.full_like(made, 7)
    says(gates.input_contract(IMAGENET, flat, normalised(flat)), "pixels of 6 views are 7 of 255")
    unit = (made / 255).astype(np.uint8)  # scaled before it should be
    says(gates.input_contract(IMAGENET, unit, normalised(unit)), "must differ")
    says(gates.input_contract(IMAGENET | {"mean": None}, made, normalised(made)), "must name their mean")
    says(gates.input_contract(IMAGENET | {"mean": (123.7, 116.3, 103.5)}, made, normalised(made)), "(123.7, 116.3")


def head(hits: int, of: int) -> tuple[torch.Tensor, list[frozenset[int]]]:
    """Logits under which `hits` of the pictures have their class, 7, among the first five."""
    logits = torch.zeros(of, 1000)
    logits[:, 100:105] = 1
    logits[:hits, 7] = 0.5
    logits[:hits, 100] = 0
    return logits, [frozenset({7})] * of


def test_the_zero_shot_identity() -> None:
    # Of 20 pictures chance, 5 in 1,000, gets more than 2 in 1 of 7,000 cases: 3 are evidence, 2 are not.
    assert gates.zero_shot(*head(3, 20)).passed
    says(gates.zero_shot(*head(2, 20)), "for 2 of 20 pictures (chance 0.5%)")
    says(gates.zero_shot(*head(0, 64)), "0 of 64")
    assert gates.zero_shot(*head(40, 64)).passed
    logits, wanted = head(0, 20)
    assert gates.zero_shot(logits, [classes | {103} for classes in wanted]).passed  # one of two classes will do


def probe_of(each: int, classes: int, right: float) -> tuple[np.ndarray, np.ndarray]:
    """Predictions of which this share is right, in every class alike."""
    labels = np.repeat(np.arange(classes), each)
    place = np.tile(np.arange(each), classes)
    return np.where(place < round(right * each), labels, (labels + 1) % classes), labels


@pytest.mark.parametrize(("each", "classes", "right"), [(256, 2, 0.5), (51, 10, 0.1), (10, 50, 0.0), (128, 4, 0.26)])
def test_a_probe_at_chance(each: int, classes: int, right: float) -> None:
    says(gates.linear_probe(*probe_of(each, classes, right), pretrained=True), "must beat guessing")
    assert gates.linear_probe(*probe_of(each, classes, right), pretrained=False).passed


# fmt: off
HARD = [
    (256, 2, 0.56), (256, 2, 1.0), (51, 10, 0.2), (10, 50, 0.1),  # above chance, if by little
    (8, 2, 0.5), (5, 10, 0.2), (10, 3, 0.3),  # too few pictures to tell
    (1, 200, 0.0), (2, 200, 0.0), (1, 2, 0.0), (3, 170, 0.0),  # too few of each class to learn from
]
# fmt: on


@pytest.mark.parametrize(("each", "classes", "right"), HARD)
def test_a_probe_of_hard_or_few_pictures_is_no_failure(each: int, classes: int, right: float) -> None:
    assert gates.linear_probe(*probe_of(each, classes, right), pretrained=True).passed


def test_a_probe_of_one_large_class_is_no_failure() -> None:
    labels = np.repeat([0, 1], [480, 32])
    assert gates.linear_probe(np.zeros(512, np.int64), labels, pretrained=True).passed
    few = np.concatenate([np.zeros(400, np.int64), np.arange(1, 113)])  # a long tail of single pictures
    assert gates.linear_probe(np.zeros(512, np.int64), few, pretrained=True).passed


@pytest.mark.parametrize(("n", "classes"), [(512, 2), (512, 120), (100, 10), (6, 3), (3, 3), (4, 2)])
def test_shuffled_labels_score_chance(n: int, classes: int) -> None:
    random = np.random.default_rng(n)
    labels = np.arange(n) % classes
    features = random.normal(0, 1, (n, 40)) + 3 * random.normal(0, 1, (classes, 40))[labels]
    hats = hat_matrices(features)
    shuffled = [random.permutation(labels) for _ in range(5)]
    right = [float((leave_one_out(hats, each) == each).mean()) for each in shuffled]
    assert gates.permuted_labels(right, labels).passed


def test_shuffled_labels_that_are_predicted() -> None:
    labels = np.arange(100) % 4
    # Of 100 at a chance of 1 in 4, more than 39 come in less than 1 of 1,000 cases.
    assert gates.permuted_labels([0.25, 0.3, 0.38], labels).passed
    says(gates.permuted_labels([0.45, 0.5, 0.4], labels), "45.0%", "leak")
    says(gates.permuted_labels([1.0], np.arange(20) % 10), "100.0%")


def test_the_first_loss() -> None:
    assert gates.first_loss(math.log(120), 120).passed
    assert gates.first_loss(math.log(2) + 5e-5, 2).passed
    says(gates.first_loss(1.1100, 3), "ln 3 = 1.0986, but is 1.1100")
    says(gates.first_loss(math.nan, 3), "nan")


def test_learning_by_heart() -> None:
    passed = gates.overfit({1e-3: 7, 1e-2: 8}, 8, 40)
    assert passed.said == "8 pictures were learned by heart at learning rate 0.01"
    assert passed.passed
    says(gates.overfit({1e-3: 2, 1e-2: 7}, 8, 40), "8 pictures", "40 steps", "2 at 0.001, 7 at 0.01")


def test_what_is_frozen() -> None:
    before = {"a": torch.zeros(2), "b": torch.ones(3)}
    assert gates.frozen(before, {"a": torch.zeros(2), "b": torch.ones(3)}, "head").passed
    says(gates.frozen(before, {"a": torch.zeros(2), "b": torch.ones(3) + 1e-7}, "head"), "1 of 2", "the first b")


# -- names


def test_classes_that_bear_imagenets_names() -> None:
    known = imagenet_classes({0: {"Shih-Tzu", "n02086240"}, 1: {"German_short-haired_pointer"}, 2: {"my dog"}})
    assert known == {0: {155}, 1: {210}}  # the places in ImageNet's own list
    assert imagenet_classes({0: {"cardigan"}, 1: {"beagle"}})[0] == {264, 474}  # the dog and the garment
    assert imagenet_classes({0: {"kite"}, 1: {"ball"}, 2: {"doll"}}) == {}
    assert imagenet_classes({i: {str(i)} for i in range(10)}) == {}
    assert imagenet_classes({0: {"cat"}, 1: {"dog"}}) == {}


# -- through the code that trials run


def read(folder: Path) -> tuple[Place, pd.DataFrame]:
    manifest = add_folds(read_manifest("folder", folder / "data"), [LEVEL], 0, official=False, split_is_factor=False)
    return Place(folder / "none", folder / "data", folder / "cache", weights=folder), manifest


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, pd.DataFrame]:
    place = make_place(tmp_path_factory.mktemp("few"))
    return place, pd.read_parquet(place.manifest)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, pd.DataFrame]:
    """600 pictures of three colours, 360 to train on, and weights for one net."""
    folder, random = tmp_path_factory.mktemp("many"), np.random.default_rng(5)
    for name, colour in COLOURS.items():
        for i in range(200):
            put(folder / "data" / name / f"{i:03}.png", encoded(noisy(colour, random, 20, 24)))
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
    assert found.pictures == len(open_pictures_of(few[1], config(), few[0]).pool) == 27
    assert found.chance == pytest.approx(1 / 3)
    assert found.probe_accuracy is not None
    assert "not applicable: the net starts from random numbers" in found.gates[1].said


def test_a_sound_pretrained_net(many: tuple[Place, pd.DataFrame]) -> None:
    found = examine(pretrained(many[0]), ["head", "last stage", "all"], *many)
    assert failed(found) == {}
    assert found.pictures == 360
    assert found.probe_accuracy is not None
    assert found.probe_accuracy > 0.5
    assert [gate.name for gate in found.gates].count("frozen") == 2
    assert examine(pretrained(many[0]), ["head", "last stage", "all"], *many) == found


@pytest.mark.parametrize("weights", ["pretrained", "none"])
@pytest.mark.parametrize("counts", [{"a": 3, "b": 3}, {f"class {i:02}": 3 for i in range(60)}, {"a": 40, "b": 3}])
def test_few_or_random_pictures_fail_nothing(
    weights: str, counts: dict[str, int], many: tuple[Place, pd.DataFrame], tmp_path: Path
) -> None:
    class_folders(tmp_path / "data", counts)  # no picture has to do with its class
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


# -- what is broken, and which gate says so


def test_a_wrong_mean(few: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    typed = InputContract((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic", 1.0)
    monkeypatch.setattr("trainables.activations.input_contract", lambda backbone: typed)
    assert set(failed(examine(config(), ["all"], *few))) == {"input contract"}


def test_a_head_that_does_not_start_at_zero(few: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    class Net(trial.Net):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            torch.manual_seed(1)
            self.head.reset_parameters()

    monkeypatch.setattr(trial, "Net", Net)
    assert set(failed(examine(config(), ["all"], *few))) == {"first loss"}


def test_shuffled_pictures(many: tuple[Place, pd.DataFrame]) -> None:
    place, manifest = many
    shuffled = manifest.assign(label=np.random.default_rng(2).permutation(manifest["label"]))
    found = failed(examine(pretrained(place), ["head"], place, shuffled))
    assert set(found) == {"linear probe"}
    assert "pictures and labels may not belong together" in found["linear probe"]


def test_a_probe_that_sees_what_it_must_predict(
    many: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "leave_one_out", lambda hats, labels: labels)
    assert set(failed(examine(pretrained(many[0]), ["head"], *many))) == {"label permutation"}


def test_training_that_moves_nothing(few: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "schedule", lambda config, step: 0.0)
    found = failed(examine(config(), ["all"], *few))
    assert set(found) == {"overfit"}
    assert "3 at 0.001" in found["overfit"]  # of eight pictures of three classes the first class's


def test_a_frozen_batch_norm_in_training_mode(few: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = config(backbone="test_resnet", size=32)
    depths = ["last 3 layers"]  # what is behind the cut has norms that do not train
    assert failed(examine(chosen, depths, *few)) == {}
    monkeypatch.setattr(training, "train_mode", lambda net: net.train())
    found = failed(examine(chosen, depths, *few))
    assert set(found) == {"frozen"}
    assert "running_mean" in found["frozen"]


def test_a_frozen_layer_that_trains(few: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "unfreeze", lambda net, body, depth: net.requires_grad_(True))
    found = failed(examine(config(backbone="test_resnet", size=32), ["last 3 layers"], *few))
    assert set(found) == {"frozen"}


def test_features_that_are_no_numbers(many: tuple[Place, pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "_pooled", lambda inputs, items: np.full((len(items), 3), np.inf))
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
