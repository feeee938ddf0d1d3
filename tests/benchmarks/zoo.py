"""Which of timm's architectures a study can train and ship: one of each family, from random numbers.

    python -m tests.benchmarks.zoo              # docs/architectures.md, in a few minutes
    python -m tests.benchmarks.zoo resnet18:64  # rows of some, at a size, on the terminal
    python -m tests.benchmarks.zoo --without-onnx  # in a third of the time

A row says whether one step trains with the head, the last stage and all of it unfrozen, where what is frozen ends
below the last stage, by how much the logits differ after the round trip through timm's local-dir, and whether ONNX
Runtime gives the same.
"""

import gc
import math
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import timm
import torch

from study.products.best import load_best
from study.products.local_dir import NotTheSame
from study.products.roundtrip import Case, there_and_back
from study.products.to_onnx import NotExported, export_onnx
from tests.images import config
from trainables.data.pixels import Pixels
from trainables.data.trial_data import TrialData
from trainables.errors import InputError
from trainables.frozen.activations import Activations
from trainables.learning.inputs import Inputs
from trainables.learning.optimizers import build_optimizer
from trainables.learning.training import Training, train_epoch
from trainables.nets.models import Body, Net, build, crop_share, unfreeze
from trainables.nets.prefixes import Frozen
from trainables.nets.work import check_runs

PAGE = Path("docs/architectures.md")
DEPTHS = ("head", "last stage", "all")
CLASSES = 3
SMALL = 64  # px of a net that takes any size
# One small net of each family; those of fixed size run at their own.
# fmt: off
ARCHITECTURES = (
    "small_cnn", "lenet5:32", "resnet18", "resnet26d", "resnext26ts", "seresnext26d_32x4d", "ecaresnet26t",
    "skresnet18", "resnest14d", "resnetv2_50", "resnetv2_18", "dla46_c", "dla34", "dpn48b", "cspresnet50", "darknet17",
    "vovnet39a", "ese_vovnet19b_dw", "regnetx_002", "regnety_002", "nfnet_l0", "repvgg_a0", "mobileone_s0", "gernet_s",
    "rexnet_100", "hgnetv2_b0", "selecsls42b", "mobilenetv2_100", "mobilenetv3_small_050", "mobilenetv4_conv_small",
    "mnasnet_small", "efficientnet_b0", "tf_efficientnet_lite0", "ghostnet_100", "lcnet_050", "tinynet_e:106",
    "fbnetc_100", "fasternet_t0", "starnet_s1", "shvit_s1", "convnext_atto", "inception_next_atto", "mambaout_femto",
    "poolformer_s12", "caformer_s18", "edgenext_xx_small", "rdnet_tiny", "mobilevit_xxs:128", "mobilevitv2_050:128",
    "efficientvit_b0", "efficientvit_m0", "efficientvim_m1", "fastvit_t8", "repvit_m0_9", "tiny_vit_5m_224",
    "levit_128s", "efficientformerv2_s0", "pvt_v2_b0", "visformer_tiny", "pit_ti_224", "coat_lite_tiny",
    "crossvit_tiny_240", "xcit_nano_12_p16_224", "volo_d1_224", "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256", "mixer_s32_224", "resmlp_12_224", "vit_tiny_patch16_224", "vit_tiny_patch16_384",
    "vit_tiny_r_s16_p8_224", "eva02_tiny_patch14_224", "deit_tiny_distilled_patch16_224", "halonet26t:256",
    "densenet121", "deit3_small_patch16_224", "eca_botnext26ts_256",
)
# fmt: on


@dataclass(frozen=True)
class Row:
    """Of one architecture: empty texts where it was refused before."""

    name: str
    size: int
    steps: dict[str, str]
    cut: str
    back: str
    onnx: str
    seconds: float
    refused: str = ""


def main(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    names = [each for each in arguments if each != "--without-onnx"]
    rows = []
    for name in names or ARCHITECTURES:
        rows.append(row_of(name, with_onnx=names == arguments))
        print(line(rows[-1]), flush=True)
        gc.collect()
    if not names:
        PAGE.write_text(page(rows), encoding="utf-8")


def row_of(named: str, with_onnx: bool = True) -> Row:
    """`named` is an architecture with the size after a colon, or without: its own if fixed, else a small one."""
    name, _, wanted = named.partition(":")
    own = timm.get_pretrained_cfg(name)
    fixed = own.input_size[-1] if own is not None and own.fixed_input_size else SMALL
    size, began = int(wanted or fixed), time.process_time()
    steps: dict[str, str] = dict.fromkeys(DEPTHS, "")
    cut, back, onnx, refused = "", "", "", ""
    try:
        check_runs(name, size)
        body = build(name, None, 0)
        steps = {depth: trained(body, depth, size) for depth in DEPTHS}
        cut = cut_of(body, size)
        with tempfile.TemporaryDirectory(prefix="zoo") as folder:
            case = Case(name, "none", size, math.ceil(size / crop_share(name)), CLASSES, CLASSES, drop_paths=False)
            seen = there_and_back(case, Path(folder))
            if not seen.agrees:
                raise NotTheSame(f"its logits differ by {seen.worst:.2g}")
            back = f"{seen.worst:.1g}"
            onnx = onnx_of(Path(folder)) if with_onnx else ""
    except Exception as problem:  # whatever it is, the next one has its turn
        refused = " ".join(str(problem).split())[:160]
    return Row(name, size, steps, cut, back, onnx, time.process_time() - began, refused)


def trained(body: Body, depth: str, size: int) -> str:
    """ "yes" where a step with `depth` unfrozen leaves finite numbers and moves some, else why not."""
    chosen = config(unfreeze=depth, size=size, stored_side=size, steps_per_epoch=1, batch_size=2, block_size=2)
    pictures = _noise(size)
    try:
        frozen = Frozen(body, size)
        activations = Activations(chosen, frozen, frozen.cut(depth), pictures, None, frozenset())
        net = Net(replace(body, module=activations.frozen.rest(activations.cut)), CLASSES)
        unfreeze(net, body, depth)
        train_epoch(Training(Inputs(chosen, net, activations, pictures), build_optimizer(chosen, net)), 1)
    except InputError:
        return "no"
    moved = bool(net.head.weight.any())
    return "yes" if moved and all(torch.isfinite(each).all() for each in net.parameters()) else "not finite"


def cut_of(body: Body, size: int) -> str:
    """Where what is frozen ends when the last stage trains."""
    try:
        return Frozen(body, size).cut("last stage")
    except InputError:
        return "no stages"


def onnx_of(folder: Path) -> str:
    try:
        return f"{export_onnx(load_best(folder, 'cpu'), folder):.1g}"
    except NotExported as problem:
        return f"no: {str(problem)[:60]}"


def line(row: Row) -> str:
    cells = [row.name, row.size, *row.steps.values(), row.cut, row.back, row.onnx, f"{row.seconds:.0f}", row.refused]
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def page(rows: list[Row]) -> str:
    shipped = [row for row in rows if row.back and not row.refused]
    intro = _INTRO.format(
        architectures=len(rows),
        shipped=len(shipped),
        tried=sum(bool(row.onnx) for row in shipped),
        with_onnx=sum(bool(row.onnx) and not row.onnx.startswith("no") for row in shipped),
        seconds=sum(row.seconds for row in rows),
        timm=timm.__version__,
        torch=torch.__version__,
    )
    return "\n".join([intro, *map(line, rows), ""])


_INTRO = """\
# Architectures

One small network of each timm family, with random weights, trained and shipped as a study would. Before it begins, a
study makes the same round trip with each of its backbones, and refuses a backbone that does not come back as the same
function.

```sh
python -m tests.benchmarks.zoo
```

{shipped} of {architectures} architectures come back from timm's local-dir. ONNX was tried with {tried} of them, and
{with_onnx} came back ({seconds:,.0f} seconds on one core, timm {timm}, torch {torch}).

- head, last stage, all: whether one training step works with this much unfrozen; `no` if timm names no stages.
- cut: where the frozen part ends below the last stage; `input` if no exact split exists, so that nothing is shared.
- timm, ONNX: the largest difference of a logit. Float32 explains 2^-11 of the largest logit, or of 1 if that is
  larger. Empty if it was not tried.
- s: seconds on one core for everything.

| architecture | px | head | last stage | all | cut | timm | ONNX | s | refused |
| --- | ---: | --- | --- | --- | --- | --- | --- | ---: | --- |"""


def _noise(size: int) -> TrialData:
    count = 4
    flat = np.random.default_rng(1).integers(0, 256, count * size * size * 3, dtype=np.uint8)
    pixels = Pixels("", flat, {i: (i * size * size * 3, size, size) for i in range(count)})
    items = np.arange(count)
    return TrialData(pixels, items % CLASSES, CLASSES, items, items, items[:0], items[:0], items[:0])


if __name__ == "__main__":
    main(sys.argv[1:])
