"""`python -m study.cache` lists and clears what studies keep on a machine, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from study.cache import main, size
from study.persistence.cache import clear, entries, in_use
from study.persistence.output_dir import opened
from tests.trees import class_folders
from trainables.data.manifest import scan
from trainables.data.pixels import Pixels, open_pixels
from trainables.data.sources import folder
from trainables.errors import InputError
from trainables.frozen.store import open_store


def fill(root: Path) -> Path:
    """A cache with an entry of every kind, written by its writers where they are cheap to call."""
    data, cache = class_folders(root / "data", {"a": 3, "b": 3}), root / "cache"
    manifest = scan(data, folder.candidates(data, None).candidates, cache=cache)
    open_pixels(manifest, data, 48, cache)
    open_store(cache, None).save("stream", 0, torch.zeros(100, 10), 1.0)
    for name, text in {
        "exports/0123.json": '{"case": {"backbone": "resnet18"}, "worst": 0, "allowed": 1, "no_onnx": null}',
        "rates.json": "{}",
        "remote/0123/driver/study.json": "{}",
        "remote/0123/name": "machine",
    }.items():
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_text(text)
    return cache


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return fill(tmp_path)


def kinds(cache: Path) -> list[str]:
    return [entry.kind for entry in entries(cache)]


def files(root: Path) -> set[str]:
    paths = (path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(root).as_posix() for path in paths}


def test_every_kind_is_listed_with_what_it_is_of(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert kinds(cache) == ["images", "scans", "frozen", "proofs", "rates", "mirrors"]
    assert main(["--cache", str(cache)]) == 0
    printed = capsys.readouterr().out
    data = cache.parent / "data"
    for about in (
        f"{data}: 6 images",
        f"{data}\n",
        "1 of: activations",
        "1 of: resnet18",
        "1 of: measured speed",
        "--clear",
    ):
        assert about in printed
    assert sum(entry.size for entry in entries(cache)) == sum(
        (cache / name).stat().st_size for name in files(cache) - {"pixels.lock", "prefixes/locks"}
    )


def test_clear_removes_all_of_it_and_no_file_of_others(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cache / "mine.txt").write_text("not a study's")
    assert main(["--cache", str(cache), "--clear"]) == 0
    assert "Removed" in capsys.readouterr().out
    assert entries(cache) == []
    assert files(cache) - {"pixels.lock", "prefixes/locks"} == {"mine.txt"}
    assert main(["--cache", str(cache), "--clear"]) == 0
    assert capsys.readouterr().out.startswith(f"{cache} has no entries.")
    assert main(["--cache", str(cache / "never")]) == 0


def test_one_kind_or_what_is_old(cache: Path) -> None:
    assert main(["--cache", str(cache), "--clear", "--kind", "frozen"]) == 0
    assert kinds(cache) == ["images", "scans", "proofs", "rates", "mirrors"]
    for file in (*cache.glob("*.pixels"), *cache.glob("*.json")):
        os.utime(file, (0, 0))
    assert main(["--cache", str(cache), "--clear", "--older-than", "20"]) == 0
    assert kinds(cache) == ["scans", "proofs", "mirrors"]


def test_a_study_decodes_again_after_a_clear(tmp_path: Path) -> None:
    cache = fill(tmp_path)
    assert main(["--cache", str(cache), "--clear"]) == 0
    assert kinds(fill_again(tmp_path)) == ["images", "scans"]


def fill_again(root: Path) -> Path:
    data, cache = root / "data", root / "cache"
    open_pixels(scan(data, folder.candidates(data, None).candidates, cache=cache), data, 48, cache)
    return cache


def test_nothing_is_removed_while_a_study_uses_the_folder(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(cache)
    with opened(cache.parent / "out", cache, resume=False):
        assert main(["--cache", str(cache), "--clear"]) == 2
    assert "in use by a study" in capsys.readouterr().err
    assert files(cache) == before
    assert main(["--cache", str(cache), "--clear"]) == 0


def test_nothing_is_removed_while_a_worker_reads_images(cache: Path) -> None:
    manifest = scan(cache.parent / "data", folder.candidates(cache.parent / "data", None).candidates)
    mapped: Pixels | None = open_pixels(manifest, cache.parent / "data", 48, cache)
    with pytest.raises(InputError, match="in use"):
        clear(cache, entries(cache))
    assert kinds(cache)[0] == "images"
    assert mapped is not None
    del mapped
    clear(cache, entries(cache))
    assert entries(cache) == []


def test_nothing_is_removed_while_a_worker_computes_activations(cache: Path) -> None:
    locks = cache / "prefixes" / "locks"
    locks.touch()
    claim = "import fcntl, sys; file = open(sys.argv[1], 'r+'); fcntl.lockf(file, fcntl.LOCK_EX, 1, 5)"
    command = [sys.executable, "-c", f"{claim}; print(1, flush=True); input()", str(locks)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdin is not None
        assert worker.stdout.readline() == "1\n"
        with pytest.raises(InputError, match="in use"):
            clear(cache, entries(cache))
        worker.stdin.write("\n")
        worker.stdin.close()
    clear(cache, entries(cache))


def test_links_are_neither_followed_nor_removed(cache: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.pixels").write_text("years of work")
    outside = [
        (cache / "linked.pixels", precious / "thesis.pixels"),
        (cache / "prefixes" / "linked", precious),
        (cache / "prefixes" / "stream" / "deep", precious),
        (cache / "remote" / "linked", precious),
    ]
    for link, target in outside:
        link.symlink_to(target)
    (cache / "exports").rename(tmp_path / "exports")
    (cache / "exports").symlink_to(tmp_path / "exports")
    assert kinds(cache) == ["images", "scans", "frozen", "rates", "mirrors"]
    assert main(["--cache", str(cache), "--clear"]) == 0
    assert (precious / "thesis.pixels").read_text() == "years of work"
    assert files(tmp_path / "exports") == {"0123.json"}
    assert {name for name in files(cache) if "link" in name} == {"linked.pixels", "prefixes/linked", "remote/linked"}


def test_names_and_texts_of_others_reach_the_terminal_escaped(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = set(cache.glob("*.json")) - {cache / "rates.json"}
    file.write_text('{"data": "\\u001b]0;gone\\u0007"}')
    assert main(["--cache", str(cache)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    for torn in ("{", "[]", '{"case": 3}', ""):
        file.write_text(torn)
        assert main(["--cache", str(cache)]) == 0


def test_a_refused_study_leaves_no_cache(tmp_path: Path) -> None:
    with in_use(tmp_path / "new" / "cache"):
        assert (tmp_path / "new" / "cache").is_dir()
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), in_use(tmp_path / "file"):
        pass


@pytest.mark.parametrize("days", ["-1", "nan", "soon"])
def test_days_that_make_no_sense_are_refused(days: str, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cache", str(cache), "--clear", "--older-than", days]) == 2
    assert "older-than" in capsys.readouterr().err
    assert len(entries(cache)) == 6


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (38_200_000, "38.2 MB"), (1.4e9, "1.4 GB")]
)
def test_sizes_are_said_in_a_unit_that_reads_well(count: int, text: str) -> None:
    assert size(count) == text
