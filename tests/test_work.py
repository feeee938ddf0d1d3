"""What an image costs, against timm's published counts, and how fast this machine says it is."""

from pathlib import Path

import pytest

from tests.images import config
from trainables import rates
from trainables.cache_layout import RATES
from trainables.nets.work import parameters_of, work_of


@pytest.mark.parametrize(
    ("backbone", "giga"),  # multiply-adds at 224 px, from timm's own tables of results
    [
        ("mobilenetv2_100", 0.31),
        ("efficientnet_b0", 0.40),
        ("resnet18", 1.82),
        ("resnet50", 4.11),
        ("densenet121", 2.87),
    ],
)
def test_work_is_what_timm_counts(backbone: str, giga: float) -> None:
    whole = work_of(backbone, "all", 224)
    assert whole.trained == pytest.approx(giga, rel=0.05)
    assert (whole.frozen, whole.values) == (0, 224 * 224 * 3)
    head, stage = work_of(backbone, "head", 224), work_of(backbone, "last stage", 224)
    assert head.trained == 0
    assert head.frozen == pytest.approx(whole.trained)
    assert stage.frozen + stage.trained == pytest.approx(whole.trained)
    assert 0 < stage.trained < stage.frozen


def test_a_cut_by_hand() -> None:
    # Three 3 x 3 convolutions, 3 -> 16 -> 32 -> 64 channels, each at half the side of the one before.
    whole = 9 * (3 * 16 * 32**2 + 16 * 32 * 16**2 + 32 * 64 * 8**2) / 1e9
    last = 9 * 32 * 64 * 8**2 / 1e9
    found = work_of("small_cnn", "last block", 32)
    assert (found.frozen, found.trained) == (pytest.approx(whole - last), pytest.approx(last))
    assert found.values == 32 * 8 * 8


def test_parameters_by_hand() -> None:
    # ResNet-18 as torchvision counts it, 11,689,512 with a head of 1,000 classes on 512 features.
    assert parameters_of("resnet18", "head", 224, 1000) == (11_689_512, 513_000)
    assert parameters_of("resnet18", "all", 224, 1) == (11_176_512 + 513, 11_176_512 + 513)


def test_what_a_net_needs_besides_the_activation_is_not_cut() -> None:
    assert work_of("test_vit", "last stage", 160).frozen == 0
    assert work_of("test_vit", "head", 160).trained == 0


def test_measured_rates_are_kept_for_this_machine_and_arithmetic(tmp_path: Path) -> None:
    chosen = config(size=32)
    assert rates.stored(tmp_path, chosen) is None
    seen = rates.measure(chosen)
    assert seen.measured
    assert min(seen.frozen, seen.forward, seen.trained, seen.view) > 0
    assert not list(tmp_path.iterdir())
    rates.keep(tmp_path, chosen, seen)
    assert rates.stored(tmp_path, chosen) == seen
    for other in ({"size": 48}, {"threads": 2}, {"precision": "bfloat16"}, {"backbone": "test_resnet"}):
        assert rates.stored(tmp_path, config(**({"size": 32} | other))) is None
    (tmp_path / RATES).write_text("garbage")
    assert rates.stored(tmp_path, chosen) is None
    assert not rates.table("resnet50", "cuda").measured
