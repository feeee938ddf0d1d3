"""The node's store of activations: bounded, shared by processes, safe to kill."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch

from tests.tiny import PATIENCE
from trainables.frozen.store import Store, shrink


def test_the_least_useful_makes_room_first(tmp_path: Path) -> None:
    store = Store(tmp_path, limit=10_000)
    rows = torch.zeros(100, 10)  # 4,000 bytes
    for stream, seconds, age in (("cheap", 0.1, 10), ("dear", 10.0, 10), ("dear but old", 10.0, 100_000)):
        Store(tmp_path, limit=1e9).save(stream, 0, rows, seconds)
        os.utime(tmp_path / stream, (time.time() - age, time.time() - age))
    mapped = store.load("dear but old", 0)
    os.utime(tmp_path / "dear but old", (time.time() - 100_000, time.time() - 100_000))
    store.save("new", 0, rows, 1.0)
    assert {file.parent.name for file in tmp_path.rglob("*.safetensors")} == {"dear", "new"}
    assert mapped is not None
    assert torch.equal(mapped, rows)  # readable to those who had it
    assert store.load("cheap", 0) is None
    store.save("too large", 0, torch.zeros(5000), 1.0)
    assert store.load("too large", 0) is None
    assert shrink(tmp_path, 0)
    assert not list(tmp_path.rglob("*.safetensors"))


def compute(folder: Path, moments: Any) -> None:
    store = Store(folder, 1e9)
    with store.claim("stream", 3) as mine:
        moments.put(mine)
        if mine:
            time.sleep(60)


def test_a_killed_writer_leaves_neither_a_claim_nor_a_part(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    moments = spawn.Queue()
    writer = spawn.Process(target=compute, args=(tmp_path, moments))
    writer.start()
    assert moments.get(timeout=PATIENCE)
    with Store(tmp_path, 1e9).claim("stream", 3) as mine, Store(tmp_path, 1e9).claim("stream", 4) as other:
        assert (mine, other) == (False, True)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    with Store(tmp_path, 1e9).claim("stream", 3) as mine:
        assert mine
    part = tmp_path / "stream" / "00003.1.part"
    part.parent.mkdir()
    part.write_bytes(bytes(5000))
    os.utime(part, (0, 0))
    Store(tmp_path, 5000).save("other", 0, torch.zeros(1000), 1.0)
    assert not part.exists()
    assert Store(tmp_path, 5000).load("other", 0) is not None
