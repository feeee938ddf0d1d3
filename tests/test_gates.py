"""What each gate says of its numbers: it passes what is sound, also where it is small or hard."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from trainables.screening import gates
from trainables.screening.gates import Gate
from trainables.screening.probe import hat_matrices, leave_one_out

LEVEL = "60-20-20"


IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "interpolation": "bicubic"}
IMAGENET |= {"input_size": (3, 224, 224)}


def views(low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(1).integers(low, high, (6, 8, 8, 3), dtype=np.uint8)


def normalized(made: np.ndarray, mean: Any = IMAGENET["mean"], std: Any = IMAGENET["std"]) -> torch.Tensor:
    return torch.from_numpy((made / 255 - np.array(mean)) / np.array(std)).permute(0, 3, 1, 2)


def says(gate: Gate, *parts: str) -> None:
    """A failed gate's sentence."""
    assert not gate.passed, gate.said
    assert all(part in gate.said for part in parts), gate.said
    assert "\n" not in gate.said
    assert not gate.said.endswith(".")


def test_the_input_contract() -> None:
    made = views()
    passed = gates.input_contract(IMAGENET, made, normalized(made))
    assert passed.passed
    assert "views of 8 px (weights: 224 px)" in passed.said
    assert "within -2.12 and 2.64" in passed.said  # (0 - 0.485) / 0.229 and (1 - 0.406) / 0.225
    dark = views(0, 90)
    assert gates.input_contract(IMAGENET, dark, normalized(dark)).passed
    scaled = IMAGENET | {"mean": (0.0, 0.0, 0.0), "std": (1 / 255,) * 3}  # nets that take 0 to 255
    assert gates.input_contract(scaled, made, torch.from_numpy(made).permute(0, 3, 1, 2)).passed


def test_an_input_that_breaks_the_contract() -> None:
    made = views(60, 190)
    says(gates.input_contract(IMAGENET, made, normalized(made, mean=(0.5, 0.5, 0.5))), "mean (0.485, 0.456, 0.406)")
    says(gates.input_contract(IMAGENET, made, normalized(made).flip(1)), "off by")  # blue, green, red
    says(gates.input_contract(IMAGENET, made, torch.from_numpy(made).permute(0, 3, 1, 2)), "-2.12 and 2.64", "to 189.0")
    says(gates.input_contract(IMAGENET, made, normalized(made) * torch.nan), "off by nan")
    flat = np.full_like(made, 7)
    says(gates.input_contract(IMAGENET, flat, normalized(flat)), "pixels of 6 views are 7 of 255")
    unit = (made / 255).astype(np.uint8)  # scaled before it should be
    says(gates.input_contract(IMAGENET, unit, normalized(unit)), "must have contrast")
    says(gates.input_contract(IMAGENET | {"mean": None}, made, normalized(made)), "must have mean")
    says(gates.input_contract(IMAGENET | {"mean": (123.7, 116.3, 103.5)}, made, normalized(made)), "(123.7, 116.3")


def head(hits: int, of: int) -> tuple[torch.Tensor, list[frozenset[int]]]:
    """Logits under which `hits` of the images have their class, 7, among the first five."""
    logits = torch.zeros(of, 1000)
    logits[:, 100:105] = 1
    logits[:hits, 7] = 0.5
    logits[:hits, 100] = 0
    return logits, [frozenset({7})] * of


def test_the_zero_shot_identity() -> None:
    # Of 20 images chance, 5 in 1,000, gets more than 2 in 1 of 7,000 cases: 3 are evidence, 2 are not.
    assert gates.zero_shot(*head(3, 20)).passed
    says(gates.zero_shot(*head(2, 20)), "for 2 of 20 images (chance 0.5%)")
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
    (8, 2, 0.5), (5, 10, 0.2), (10, 3, 0.3),  # too few images to tell
    (1, 200, 0.0), (2, 200, 0.0), (1, 2, 0.0), (3, 170, 0.0),  # too few of each class to learn from
]
# fmt: on


@pytest.mark.parametrize(("each", "classes", "right"), HARD)
def test_a_probe_of_hard_or_few_images_is_no_failure(each: int, classes: int, right: float) -> None:
    assert gates.linear_probe(*probe_of(each, classes, right), pretrained=True).passed


def test_a_probe_of_one_large_class_is_no_failure() -> None:
    labels = np.repeat([0, 1], [480, 32])
    assert gates.linear_probe(np.zeros(512, np.int64), labels, pretrained=True).passed
    few = np.concatenate([np.zeros(400, np.int64), np.arange(1, 113)])  # a long tail of single images
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


def test_overfitting_a_few_images() -> None:
    passed = gates.overfit({1e-3: 7, 1e-2: 8}, 8, 40)
    assert passed.said == "8 images were overfit at learning rate 0.01"
    assert passed.passed
    says(gates.overfit({1e-3: 2, 1e-2: 7}, 8, 40), "8 images", "40 steps", "2 at learning rate 0.001, 7 at")


def test_what_is_frozen() -> None:
    before = {"a": torch.zeros(2), "b": torch.ones(3)}
    assert gates.frozen(before, {"a": torch.zeros(2), "b": torch.ones(3)}, "head").passed
    says(gates.frozen(before, {"a": torch.zeros(2), "b": torch.ones(3) + 1e-7}, "head"), "1 of 2", "the first is b")


def test_the_memory_of_a_step() -> None:
    assert gates.memory(0.313, 64) == Gate("memory", True, "a step of 64 images takes 31% of the GPU's memory")
    assert gates.memory(math.inf, 64) == Gate(
        "memory", False, "a step of 64 images must fit on the GPU, but its memory ran out"
    )
