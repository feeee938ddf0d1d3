"""The names of files and folders below --cache, for their writers and for `python -m study.cache`."""

IMAGES = ".pixels"  # decoded images: KEY.pixels, described by KEY.json
IMAGES_LOCK = "pixels.lock"
SCANS = "scans"  # inspections of files: an SQLite file per data folder
FROZEN = "prefixes"  # activations of frozen prefixes: a folder per stream
FROZEN_LOCKS = "locks"  # in FROZEN
PROOFS = "exports"  # successful round trips of exported backbones: a JSON file each
RATES = "rates.json"  # measured throughput of this machine
MIRRORS = "remote"  # working copies of studies whose --out is remote: a folder per address
