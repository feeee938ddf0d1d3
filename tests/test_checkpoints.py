import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from trainables.learning import checkpoints
from trainables.learning.checkpoints import State, load, load_tensors, save, save_tensors

AWKWARD = {
    "nan": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
    "scalar": torch.tensor(3.0),
    "count": torch.tensor(7, dtype=torch.int64),
    "half": torch.tensor([1.0, 3.14159], dtype=torch.bfloat16),
    "empty": torch.zeros(0, 3),
    "layout": torch.arange(120.0).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "slice": torch.arange(10.0)[::2],
}


def state(**changes: Any) -> State:
    best = {"a.b/c": torch.rand(3)}
    whole = State(epoch=3, best_epoch=2, best_score=1 / 3, net=dict(AWKWARD), optimizer={}, best=best)
    return replace(whole, **changes)


def bits(tensor: torch.Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    return tensor.dtype, tuple(tensor.shape), tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def test_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    before = state()
    save(before, tmp_path / "new" / "state")
    after = load(tmp_path / "new" / "state")
    assert (after.epoch, after.best_epoch, after.best_score) == (3, 2, 1 / 3)
    for part in ("net", "optimizer", "best"):
        one, other = getattr(before, part), getattr(after, part)
        assert one.keys() == other.keys()
        assert all(bits(one[name]) == bits(other[name]) for name in one)


@settings(max_examples=50)
@given(st.floats(0, 1), st.integers(0, 2**31))
def test_numbers_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, accuracy: float, epoch: int) -> None:
    file = tmp_path_factory.getbasetemp() / "numbers"
    save(state(epoch=epoch, best_score=accuracy), file)
    after = load(file)
    assert (after.epoch, after.best_score) == (epoch, accuracy)


def test_a_crash_while_writing_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state"
    save(state(epoch=1), file)

    def crash(tensors: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_file", crash)
    with pytest.raises(KeyboardInterrupt):
        save(state(epoch=2), file)
    assert load(file).epoch == 1
    monkeypatch.undo()
    save(state(epoch=3), file)
    assert load(file).epoch == 3
    assert list(tmp_path.iterdir()) == [file]


def test_the_file_is_numbers_and_a_header_of_json(tmp_path: Path) -> None:
    file = tmp_path / "state"
    save(state(), file)
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    numbers = {"epoch": 3, "best_epoch": 2, "best_score": 1 / 3}
    assert json.loads(header.pop("__metadata__")["state"]) == numbers
    assert {name.partition("/")[0] for name in header} == {"net", "best"}
    assert len(data) == 8 + length + max(entry["data_offsets"][1] for entry in header.values())


def test_named_tensors_alone(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.rand(2, 2))
    save_tensors({"head.weight": parameter}, tmp_path / "model.safetensors", {"format": "pt"})
    (name, tensor), *rest = load_tensors(tmp_path / "model.safetensors").items()
    assert not rest
    assert name == "head.weight"
    assert bits(tensor) == bits(parameter.detach())


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_a_file_of_tensors_has_the_mode_of_its_neighbors(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        save_tensors({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == mode


def test_a_full_disk_is_told_with_the_file_its_size_and_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, file: Path, **_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoints, "save_file", full)
    file = tmp_path / "model.safetensors"
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_tensors({"x": torch.zeros(2**18)}, file)
    assert caught.value.filename == str(file)
    (room,) = caught.value.__notes__
    assert re.fullmatch(r"it takes 1 MiB, and its file system /\S* has [\d.e+]+ MiB left", room)
    assert list(tmp_path.iterdir()) == []
