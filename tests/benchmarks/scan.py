"""How long the first and the second scan of a folder take, and how much memory.

    python -m tests.benchmarks.scan --files 60000 --side 32
    python -m tests.benchmarks.scan --files 1000000 --made-up    # nothing is decoded: what a million cost beside that

Each scan is a process of its own, with its helpers. Peak memory is that of the scanning process; a helper takes another
90 MiB. Files are PNG where they have at most 64 pixels a side, else JPEG.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from trainables.data import inspections
from trainables.data.inspection import Inspection
from trainables.data.manifest import Candidate, manifest_hash, scan

CLASSES = 10


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=60_000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--made-up", action="store_true", help="files that are not there, found without a decoder")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        print(json.dumps(scanned(chosen.one, chosen.files, chosen.side, chosen.made_up)))
        return 0
    with TemporaryDirectory() as folder:
        if not chosen.made_up:
            make(Path(folder) / "data", chosen.files, chosen.side)
        hashes = set()
        for name in ("first", "second"):
            command = [sys.executable, "-m", "tests.benchmarks.scan", "--one", folder, *arguments]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            hashes.add(found.pop("hash"))
            print(f"{name}: " + ", ".join(f"{key} {value:,.2f}" for key, value in found.items()), flush=True)
        assert len(hashes) == 1, "two scans of one folder must find the same"
    return 0


def names(files: int, side: int) -> list[str]:
    ending = "png" if side <= 64 else "jpg"
    return [f"{number % CLASSES}/{number:07}.{ending}" for number in range(files)]


def make(data: Path, files: int, side: int) -> None:
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        (data / str(label)).mkdir(parents=True)
    for name in names(files, side):
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(data / name)


def scanned(folder: Path, files: int, side: int, made_up: bool) -> dict[str, float | str]:
    candidates = [Candidate(name, name.split("/")[0]) for name in names(files, side)]
    if made_up:
        inspections.inspect = invented  # also where helpers would be worth it: none can know of this
        inspections.stamp_of = lambda file: (1, 1, 1)
        inspections._WORTH_HELPERS = sys.maxsize
    began = time.perf_counter()
    manifest = scan(folder / "data", candidates, cache=folder / "cache")
    seconds = time.perf_counter() - began
    own, helpers = (resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "seconds": seconds,
        "CPU seconds": sum(of.ru_utime + of.ru_stime for of in (own, helpers)),
        "peak GiB": own.ru_maxrss / 2**20,
        "kept": int(manifest["keep"].sum()),
        "groups": manifest["group"].nunique(),
        "hash": manifest_hash(manifest),
    }


def invented(file: str, gray_ranges: object = None) -> tuple[Inspection, tuple[int, int, int]]:
    """An image of its name: every tenth is as near to the one before as a copy that was saved again."""
    number = int(Path(file).stem)
    sha256 = hashlib.sha256(file.encode()).hexdigest()
    seed = hashlib.sha256(str(number - (number % 10 == 9)).encode()).digest()
    thumbnail = (seed * 96)[:3072]
    found = Inspection(1, sha256, 32, 32, "RGB", False, "", None, int.from_bytes(seed[:8]), thumbnail)
    return found, (1, 1, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
