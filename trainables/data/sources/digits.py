"""scikit-learn's 1,797 handwritten digits, as 8 x 8 grayscale PNG files in one folder per digit."""

import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from trainables.data.manifest import Source
from trainables.data.sources import folder
from trainables.errors import InputError

COUNT = 1797


def candidates(data: Path, test: Path | None) -> Source:
    """Return the files of the digits, which the first call writes.

    Raises:
        InputError: The folder cannot be written, or holds something else.
    """
    if test is not None:
        raise InputError(f"The digits do not support your own test images, but got {test}: leave out --test.")
    if not data.exists() or (data.is_dir() and not any(data.iterdir())):
        try:
            _write(data)
        except OSError as error:
            raise InputError(f"The digits cannot be written to {data} ({error.strerror}): give --data.") from error
    source = folder.candidates(data, None)
    if len(source.candidates) != COUNT:
        raise InputError(
            f"The folder of the digits must have {COUNT} images, but {data} has {len(source.candidates)}: "
            "give an empty folder."
        )
    return source


def _write(data: Path) -> None:
    """Write all files or none: into a temporary folder beside the final one, which is then renamed."""
    from sklearn.datasets import load_digits

    digits = cast(Any, load_digits())  # a Bunch, by default
    data = data.absolute()
    data.parent.mkdir(parents=True, exist_ok=True)
    part = data.with_name(f".{data.name}-{uuid.uuid4().hex}")
    try:
        for number, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
            file = part / str(digit) / f"{number:04}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8)).save(file)  # stored as 0 to 16
        with suppress(OSError):  # another process was first
            os.replace(part, data)
    finally:
        shutil.rmtree(part, ignore_errors=True)
