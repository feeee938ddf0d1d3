"""Before a study begins: whether its nets come back from what it would ship."""

from pathlib import Path
from typing import Any

import pytest
import torch

from study.products import local_dir, roundtrip
from study.products.local_dir import timm_config, timm_state, write_preprocessing
from study.products.roundtrip import Case, RoundTrip, check_exports, round_trip
from study.run import main
from tests.images import config
from tests.tiny import STUDY_FILE, make_pictures, write_study
from trainables.data.grayscale import GrayRanges
from trainables.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")


def case(backbone: str, size: int, **changes: Any) -> Case:
    values = {"stored_side": size + 9, "classes": 3, "outputs": 3, "drop_paths": False, "weights": "none"}
    return Case(backbone=backbone, size=size, **(values | changes))


@pytest.mark.parametrize(
    "tried",
    [
        case("small_cnn", 16),
        case("small_cnn", 16, classes=2, outputs=1),  # one output for two classes
        case("test_resnet", 32, drop_paths=True),
        case("test_vit", 160),  # takes no other size, and the code's default is not it
        case("dla46_c", 32),  # its classifier is a 1x1 convolution
        case("coat_lite_tiny", 224),  # its blocks share weights
        case("volo_d1_224", 224),  # an auxiliary head that adds to the logits
        case("repvit_m0_9", 32),  # two classifiers, each behind a norm, whose mean counts
        case("rdnet_tiny", 32),  # no coarse groups
        case("fbnetc_100", 32, weights="pretrained"),  # timm gives its norms another eps where weights come
    ],
    ids=lambda tried: f"{tried.backbone} {tried.outputs}",
)
def test_nets_that_come_back_as_the_same_function(tried: Case) -> None:
    seen = round_trip(tried)
    assert seen.worst <= 1e-4 * max(1.0, seen.allowed / local_dir.TOLERANCE)


@pytest.mark.parametrize(
    ("backbone", "size", "differs"),
    [
        ("fbnetc_100", 32, "its logits differ by .*"),  # from random numbers
        ("caformer_s18", 64, r"its classifier has more than one layer \(head.fc.fc1\)"),
        ("efficientvim_m1", 64, "its classifier heads.0 has 128 input features, but the head has 960"),
        ("crossvit_tiny_240", 240, "its classifier head.0 has 96 input features, but the head has 288"),
    ],
)
def test_nets_that_do_not_are_refused_with_what_differs(backbone: str, size: int, differs: str) -> None:
    with pytest.raises(InputError, match=rf"^Backbone {backbone} at {size} px .*{differs}. Use another backbone.$"):
        round_trip(case(backbone, size))


def _no_bias(net: Any, config: Any) -> dict[str, torch.Tensor]:
    state = timm_state(net, config)
    return state | {"classifier.bias": torch.zeros_like(state["classifier.bias"])}


def _other_input(*arguments: Any) -> dict[str, Any]:
    found = timm_config(*arguments)
    return found | {"model_args": {"num_classes": 3, "in_chans": 1}}


def test_a_file_that_lacks_something_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_dir, "timm_state", _no_bias)
    with pytest.raises(InputError, match="its logits differ by"):
        round_trip(case("small_cnn", 16))


def test_a_config_that_describes_another_net_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_dir, "timm_config", _other_input)
    with pytest.raises(InputError, match="cannot be exported"):
        round_trip(case("small_cnn", 16))


def test_images_that_go_in_otherwise_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(contract: Any, size: int, stored_side: int, region: str, gray_ranges: GrayRanges, folder: Path) -> None:
        write_preprocessing(contract, size, stored_side - 3, region, gray_ranges, folder)

    monkeypatch.setattr(roundtrip, "write_preprocessing", other)
    with pytest.raises(InputError, match="its preprocessing differs"):
        round_trip(case("small_cnn", 16))


def test_what_was_proved_is_not_proved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_exports([config()], 3, tmp_path / "none", keep=False)
    assert not (tmp_path / "none").exists()
    check_exports([config(), config(learning_rate=1.0)], 3, tmp_path)
    assert len(list(tmp_path.rglob("*.json"))) == 1
    proved: list[Case] = []

    def note(tried: Case, with_onnx: bool) -> RoundTrip:
        proved.append(tried)
        return RoundTrip(0.0, 1.0)

    monkeypatch.setattr(roundtrip, "round_trip", note)
    check_exports([config()], 3, tmp_path)
    assert not proved
    changed = [config(size=24), config(stored_side=40), config(backbone="test_resnet")]
    changed += [config(regularizer="drop_path", drop_path=0.1)]
    check_exports(changed, 3, tmp_path)
    check_exports([config()], 4, tmp_path)
    assert len(proved) == 5


def test_a_net_that_is_no_onnx_is_named_and_not_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    def refuse(net: object, *_: object, **__: object) -> None:
        tried.append(net)
        raise RuntimeError("no translation")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    check_exports([config()], 3, tmp_path)
    assert (len(tried), capsys.readouterr().err) == (0, "")
    for _ in range(2):  # the second time it is looked up
        check_exports([config()], 3, tmp_path, with_onnx=True)
        said = "small_cnn cannot be exported as ONNX (RuntimeError: no translation); everything else works with it.\n"
        assert capsys.readouterr().err == said
    assert len(tried) == 1


@pytest.mark.parametrize("flags", [["--dry-run"], ["--skip-preflight"]])
def test_a_study_with_a_net_that_cannot_ship_is_refused_before_anything_is_written(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = make_pictures(tmp_path / "pictures")
    text = STUDY_FILE.replace('"small_cnn"', '"efficientvim_m1"').replace('"unfreeze": "all", "size": 16', '"size": 64')
    study, out = write_study(tmp_path, text), tmp_path / "out"
    common = ["--data", pictures, "--out", out, "--cache", tmp_path / "cache", "--weights", "none"]
    assert main([str(each) for each in [study, *common, *flags]]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("Backbone efficientvim_m1 at 64 px cannot be exported")
    assert not out.exists() or not list(out.iterdir())
