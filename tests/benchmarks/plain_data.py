"""The images as torchvision would have them, for the peers: decoded again for every view."""

from typing import Any

import timm
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from torch.utils.data import Dataset
from torchvision import transforms

from tests.benchmarks.task import Task
from trainables.nets.weights import find, read

Item = tuple[torch.Tensor, int]


def pretrained(task: Task) -> Any:
    """The backbone without its classifier, with the same weights file that every contestant gets."""
    model = timm.create_model(task.backbone)
    model.load_state_dict(read(find(task.backbone), list(model.state_dict())))
    model.reset_classifier(0)  # pyright: ignore[reportCallIssue]  (timm types its models as plain modules)
    return model


def training_set(task: Task) -> Dataset[Item]:
    mean, std, _ = _contract(task)
    light = [transforms.RandomResizedCrop(task.size, scale=(0.5, 1.0), interpolation=_BICUBIC)]
    light += [transforms.RandomHorizontalFlip()]
    return _Files(task.train, transforms.Compose([*light, transforms.ToTensor(), transforms.Normalize(mean, std)]))


def evaluation_set(task: Task, fold: str = "val") -> Dataset[Item]:
    mean, std, crop = _contract(task)
    centre = [transforms.Resize(round(task.size / crop), _BICUBIC), transforms.CenterCrop(task.size)]
    files = task.val if fold == "val" else task.train
    return _Files(files, transforms.Compose([*centre, transforms.ToTensor(), transforms.Normalize(mean, std)]))


_BICUBIC = transforms.InterpolationMode.BICUBIC


def _contract(task: Task) -> tuple[Any, Any, float]:
    config = resolve_model_data_config(timm.create_model(task.backbone))
    return config["mean"], config["std"], config["crop_pct"]


class _Files(Dataset[Item]):
    def __init__(self, files: list[tuple[str, int]], transform: Any) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Item:
        path, label = self.files[index]
        with Image.open(path) as image:
            return self.transform(image.convert("RGB")), label
