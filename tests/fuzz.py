"""Bytes at random for the readers of what strangers write: archives, images and the ledger.

    python -m tests.fuzz --seconds 60 --seed 0

Valid archives, images and ledgers are mutated and read. An archive must be unpacked below its folder or refused as
bad input, an image must give pixels or a reason, a ledger must be read or refused; anything else is raised, with the
state of the generator that made it.
"""

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.random import Generator
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from study.persistence import ledger
from tests.courses import BONUS, SMALLEST, begin, drive, small_study
from tests.trees import encoded, make_tar, make_zip, pixels
from trainables.data.archives import extract
from trainables.data.images import DecodeError, decode
from trainables.errors import InputError

MEMBERS = {"Images/a/1.jpg": bytes(range(256)) * 4, "Images/b/2.jpg": b"two", "list.mat": b"", "a" * 150: b"long"}
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

Case = tuple[str, Callable[[], object]]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    random, outcomes = np.random.default_rng(chosen.seed), Counter[str]()
    warnings.simplefilter("ignore")  # PIL's, about damaged metadata
    with TemporaryDirectory() as folder, redirect_stderr(StringIO()):  # the ledger reports damage
        root = Path(folder)
        readers = [archives(root / "archives"), pictures(), ledgers(root / "ledgers")]
        ends = time.monotonic() + chosen.seconds
        while time.monotonic() < ends:
            for reader in readers:
                state = random.bit_generator.state
                try:
                    outcomes[reader(random)] += 1
                except Exception as finding:
                    finding.add_note(f"found by {reader.__qualname__} at {state}")
                    raise
    print(", ".join(f"{name}: {count:,}" for name, count in sorted(outcomes.items())))
    return 0


def mutated(data: bytes, random: Generator) -> bytes:
    """Some bytes changed, a piece cut out, doubled, or put where another was."""
    found = bytearray(data)
    for _ in range(random.integers(1, 5)):
        place, length = int(random.integers(0, len(found) + 1)), int(random.geometric(0.1))
        kind = random.integers(0, 5)
        if kind == 0:
            found[place : place + length] = random.bytes(length)
        elif kind == 1:
            del found[place : place + length]
        elif kind == 2:
            found[place:place] = found[place : place + length]
        elif kind == 3:
            other = int(random.integers(0, len(found) + 1))
            found[place : place + length] = found[other : other + length]
        elif random.random() < 0.2:
            del found[place:]
        elif place < len(found):
            found[place] ^= 1 << int(random.integers(0, 8))
    return bytes(found)


def archives(root: Path) -> Callable[[Generator], str]:
    root.mkdir()
    made = [make_zip(root / "x.zip", MEMBERS), make_tar(root / "x.tar", MEMBERS), make_tar(root / "x.tar.gz", MEMBERS)]
    whole = {file: file.read_bytes() for file in made}

    def read(random: Generator) -> str:
        file = made[random.integers(0, len(made))]
        file.write_bytes(mutated(whole[file], random))
        with TemporaryDirectory(dir=root) as into:
            try:
                extract(file, Path(into) / "data")
                outcome = "archives unpacked"
            except InputError:
                outcome = "archives refused"
                assert not list((Path(into) / "data").iterdir()), "something of a refused one stays"
            assert [path.name for path in Path(into).iterdir()] == ["data"]
            assert not [
                path for path in Path(into).rglob("*") if path.is_symlink() or not (path.is_file() or path.is_dir())
            ]
        assert {path.name for path in root.iterdir()} == {file.name for file in made}
        return outcome

    return read


def pictures() -> Callable[[Generator], str]:
    turned = Image.Exif()
    turned[0x112], turned[0x10F] = 6, "maker"
    text, profile = PngInfo(), bytes(3000)
    text.add_text("parameters", "x" * 2**21, zip=True)
    whole = [encoded(pixels(number, 12, 16), kind) for number, kind in enumerate(FORMATS)]
    whole += [encoded(pixels(9, 12, 16), kind, exif=turned, icc_profile=profile) for kind in ("JPEG", "WEBP", "TIFF")]
    whole += [encoded(pixels(8, 12, 16), exif=turned, pnginfo=text)]
    whole += [encoded(np.arange(192, dtype=np.uint16).reshape(12, 16) * 21, kind) for kind in ("PNG", "TIFF")]

    def read(random: Generator) -> str:
        try:
            decode(mutated(whole[random.integers(0, len(whole))], random))
        except DecodeError:
            return "images refused"
        return "images decoded"

    return read


def ledgers(out: Path) -> Callable[[Generator], str]:
    drive(begin(out, small_study(budget=SMALLEST)), BONUS)
    files = sorted((out / ledger.LEDGER).rglob("*.json"))
    whole = {file: file.read_bytes() for file in files}

    def read(random: Generator) -> str:
        touched = [files[place] for place in random.integers(0, len(files), 3)]
        for file in touched:
            file.write_bytes(mutated(whole[file], random))
        try:
            begin(out, small_study(budget=SMALLEST))
            assert len(ledger.read_openings(out)) == 1
            return "ledgers read"
        except InputError:
            return "ledgers refused"
        finally:
            for file in touched:
                file.write_bytes(whole[file])

    return read


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
