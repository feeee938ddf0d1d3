"""The exported net is timm's own with the same logits, and files made from an earlier winner are removed."""

from pathlib import Path

import pytest
import timm
import torch

from study.products.export import export_best
from study.products.local_dir import as_classes, rebuilt, timm_config, timm_state
from study.results import KNN_FILE, RETRIEVAL_FILE
from tests.finished import finish
from trainables.nets.models import Net, build


@pytest.mark.parametrize("backbone", ["test_resnet", "small_cnn", "deit_tiny_distilled_patch16_224", "levit_128s"])
@pytest.mark.parametrize("outputs", [1, 5])
def test_what_is_exported_is_timms_own_net_with_the_same_logits(backbone: str, outputs: int, tmp_path: Path) -> None:
    net = Net(build(backbone, None, 0), outputs)
    random = torch.Generator().manual_seed(0)
    for parameter in net.head.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random)
    side: int = vars(timm.create_model(backbone))["pretrained_cfg"]["input_size"][-1]
    config = timm_config(net, backbone, ["a"] * max(outputs, 2), side)
    whole = rebuilt(config)
    whole.load_state_dict(timm_state(net, config))
    x = torch.rand(2, 3, side, side, generator=random)
    with torch.no_grad():
        expected = net(x)
        torch.testing.assert_close(whole(x), expected, rtol=1e-3, atol=1e-3)


def test_what_was_made_of_an_earlier_winner_goes_when_another_is_exported(tmp_path: Path) -> None:
    study = finish(tmp_path)
    (study.out / "tables").mkdir()
    made = [study.out / "best" / "model.onnx", study.out / "tables" / KNN_FILE, study.out / "tables" / RETRIEVAL_FILE]
    for file in made:
        file.write_text("")
    export_best(study.course, study.record, study.place, study.manifest)
    assert all(file.exists() for file in made)  # it is the same winner
    (study.out / "best" / "trial.json").write_text('{"trial": "confirm-0002", "config": {}}')
    export_best(study.course, study.record, study.place, study.manifest)
    assert not any(file.exists() for file in made)


def test_one_output_is_the_log_odds_of_the_second_class() -> None:
    head = torch.nn.Linear(3, 1)
    weight, bias = as_classes(head)
    assert torch.equal(weight, torch.stack([torch.zeros(3), head.weight[0]]))
    assert torch.equal(bias, torch.stack([torch.tensor(0.0), head.bias[0]]))
