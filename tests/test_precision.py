"""Which devices compute in bfloat16, and which parts of which backbones use it."""

import pytest
import torch

from trainables.nets.arithmetic import choose_precision, computes_bfloat16


@pytest.mark.parametrize("is_native", [True, False])
def test_a_gpu_that_only_emulates_bfloat16_does_not_compute_in_it(
    monkeypatch: pytest.MonkeyPatch, is_native: bool
) -> None:
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or is_native
    )
    assert computes_bfloat16("cuda") is is_native


@pytest.mark.parametrize(
    ("device", "backbone", "frozen", "expected"),
    [
        ("cuda", "tf_efficientnet_lite0", False, "bfloat16"),
        ("cpu", "tf_efficientnet_lite0", False, "float32"),  # depthwise convolutions train faster in float32
        ("cpu", "tf_efficientnet_lite0", True, "bfloat16"),
        ("cpu", "resnet18", False, "bfloat16"),
    ],
)
def test_the_precision_of_each_part(device: str, backbone: str, frozen: bool, expected: str) -> None:
    assert choose_precision(device, True, backbone, frozen) == expected
    assert choose_precision(device, False, backbone, frozen) == "float32"
