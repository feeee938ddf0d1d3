import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from study.export_onnx import main
from study.products.best import load_best, logits, views
from study.products.to_onnx import OPSET, some_pictures
from tests.finished import Finished


def test_the_exported_winner_says_the_same_of_any_number_of_images(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(finished.out)]) == 0
    assert f"opset {OPSET}" in capsys.readouterr().out
    file = finished.out / "best" / "model.onnx"
    assert [each.name for each in file.parent.glob("*onnx*")] == ["model.onnx"]
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    best = load_best(finished.out)
    inputs = views(best, some_pictures(best, finished.out))
    for count in (1, 3, len(inputs)):
        found = np.asarray(session.run(["logits"], {"views": inputs[:count].numpy()})[0])
        np.testing.assert_allclose(found, logits(best, inputs[:count]), rtol=1e-4, atol=1e-4)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["labels"]) == ["blue", "green", "red"]
    assert json.loads(about["preprocessing"])["size"] == 16
    assert json.loads(about["temperature"]) == best.temperature


def _refuse(*_: object, **__: object) -> None:
    raise RuntimeError("no translation\nfor this")


def test_a_net_that_cannot_be_exported_leaves_one_line_and_no_file(
    finished: Finished, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = finished.out / "best" / "model.onnx"
    file.write_bytes(b"of an older winner")
    monkeypatch.setattr(torch.onnx, "export", _refuse)
    assert main([str(finished.out)]) == 1
    assert capsys.readouterr().err == "The winner cannot be exported: RuntimeError: no translation for this.\n"
    assert not list(file.parent.glob("*onnx*"))


def test_a_folder_without_a_winner_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "holds no winner" in capsys.readouterr().err
