"""What lies where below --cache: the writers and `python -m study.cache` read the names here."""

IMAGES = ".pixels"  # decoded images: KEY.pixels, with KEY.json about them
IMAGES_LOCK = "pixels.lock"
SCANS = "scans"  # what was found of the files of a data folder: an SQLite file per folder
FROZEN = "prefixes"  # activations of frozen prefixes: a folder per stream
FROZEN_LOCKS = "locks"  # in FROZEN
PROOFS = "exports"  # round trips of backbones that succeeded: a JSON file each
RATES = "rates.json"  # how fast this machine computes
MIRRORS = "remote"  # working copies of studies whose --out is remote: a folder per address
