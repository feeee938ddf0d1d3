"""The frozen part of a backbone: where it ends, and how it runs separately from the trainable part.

A cut is the name of the child module behind which the backbone is divided; a `Sequential` is replaced by its children.
The prefix runs as a segment. The suffix is the same net with the children before the cut replaced by `Identity`. The
composition of prefix and suffix is verified: the backbone is divided only where its output equals the net's, bit for
bit. (Segments then run with folded norms.)
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from trainables.nets.folding import fold_norms
from trainables.nets.models import Body, trainable_names

INPUT = "input"  # before the first child: the activations are the views
POOLED = "pooled"  # after the last child: only the head trains
Segment = Callable[[torch.Tensor], torch.Tensor]


class Frozen:
    """A backbone with its initial weights, on its device. It never changes, so all trials of a process share it.

    On the device "meta" it has only shapes, which is enough to find its cuts.
    """

    def __init__(self, body: Body, size: int) -> None:
        self.body, self.size = body, size
        self.children = children_as_they_run(body.module, self._example())
        self._cuts: dict[str, str] = {}
        self._segments: dict[tuple[str, str, str], Segment] = {}

    @cached_property
    def _folded(self) -> nn.Module:
        """The net with folded norms, for segments; computed on demand, since a fully trainable net has no segments."""
        return fold_norms(self.body.module, self.children, self._example())

    @cached_property
    def _cast(self) -> nn.Module:
        """The folded net with its weights in bfloat16."""
        return cast_weights(self._folded, self._example())

    def cut(self, depth: str) -> str:
        """Return the cut of an unfreeze depth; INPUT if everything trains or no division is exact.

        Raises:
            InputError: The backbone has fewer parts than `depth` asks for.
        """
        if depth not in self._cuts:
            self._cuts[depth] = self._find_cut(trainable_names(self.body, depth))
        return self._cuts[depth]

    def position(self, cut: str) -> int:
        """Return the number of children before a cut, which orders cuts from input to head."""
        if cut == POOLED:
            return len(self.children) + 1
        return 0 if cut == INPUT else self.children.index(cut) + 1

    def segment(self, start: str, end: str, precision: str = "float32") -> Segment:
        """Return the function from the activation at one cut to the activation at a later one.

        Args:
            precision: of the autocast context in which it will be called.
        """
        key = start, end, precision
        if key not in self._segments:
            whole = self._cast if precision == "bfloat16" else self._folded
            self._segments[key] = self._between(whole, start, end)
        return self._segments[key]

    def rest(self, cut: str) -> nn.Module:
        """Return a copy of the part behind the cut, to train."""
        return nn.Identity() if cut == POOLED else _without(self.body.module, self._before(cut), shared=False)

    def _find_cut(self, trainable: set[str]) -> str:
        if not trainable:
            return POOLED
        by_child = [_parameters_in(child, trainable) for child in self.children]
        frozen = next((i for i, names in enumerate(by_child) if names), 0)
        # A parameter outside of all children, such as a position embedding, may be used anywhere.
        if frozen == 0 or set().union(*by_child) != trainable:
            return INPUT
        cut = self.children[frozen - 1]
        return cut if self._divides(cut) else INPUT

    def _divides(self, cut: str) -> bool:
        x = self._example()
        try:
            with torch.no_grad():
                whole, activation = self.body.module(x), self._between(self.body.module, INPUT, cut)(x)
                composed = self.rest(cut)(activation)
                return composed.shape == whole.shape if x.is_meta else torch.equal(composed, whole)
        except torch.OutOfMemoryError:
            raise  # it says nothing about the cut
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):
            return False  # the suffix needs more than this activation

    def _between(self, whole: nn.Module, start: str, end: str) -> Segment:
        module = _without(whole, self._before(start), shared=True)
        if end == POOLED:
            return module
        module.get_submodule(end).register_forward_hook(_stop)
        return lambda x: _until_stopped(module, x)

    def _before(self, cut: str) -> list[str]:
        return self.children[: self.position(cut)]

    def _example(self) -> torch.Tensor:
        """Return two images of noise (2, 3, size, size)."""
        x = torch.randn(2, 3, self.size, self.size, generator=torch.Generator().manual_seed(0))
        return x.to(next(self.body.module.parameters()).device)


def cast_weights(module: nn.Module, x: torch.Tensor) -> nn.Module:
    """Return a copy with the weights of convolutions and linear layers in bfloat16.

    Autocast casts frozen weights anew in every forward pass. The copy's output under autocast must have the same bits
    on `x` (n, 3, h, w); else, as with layers that compute their weights, the module itself is returned.
    """
    if x.is_meta:
        return module
    cast = copy.deepcopy(module)
    for child in cast.modules():
        if type(child) in (nn.Conv2d, nn.Linear, Conv2dSame):
            child.to(torch.bfloat16)
    with torch.no_grad(), torch.autocast(x.device.type, dtype=torch.bfloat16):
        try:
            return cast if torch.equal(cast(x), module(x)) else module
        except torch.OutOfMemoryError:
            raise  # it says nothing about the weights
        except RuntimeError:  # of a layer that uses its weights outside of autocast
            return module


class _Reached(Exception):
    """Ends a forward pass at the cut."""

    def __init__(self, activation: torch.Tensor) -> None:
        self.activation = activation


def _stop(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
    raise _Reached(output)


def _until_stopped(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    try:
        module(x)
    except _Reached as reached:
        return reached.activation
    raise AssertionError("the cut was not reached")


def children_as_they_run(module: nn.Module, x: torch.Tensor) -> list[str]:
    """Return the names of a net's children in the order in which a forward pass of `x` calls them."""
    called: list[str] = []
    hooks = [
        child.register_forward_hook(lambda *_, name=name: called.append(name)) for name, child in _opened(module, "")
    ]
    with torch.no_grad():
        module(x)
    for hook in hooks:
        hook.remove()
    return list(dict.fromkeys(called))


def _opened(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if type(child) is nn.Sequential and len(child):
            yield from _opened(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _parameters_in(child: str, parameters: Iterable[str]) -> set[str]:
    return {name for name in parameters if name.startswith(f"{child}.")}


def _without(module: nn.Module, children: Iterable[str], shared: bool) -> nn.Module:
    """Return a copy in which `children` are `Identity`; with `shared`, it shares the tensors of the original."""
    known: dict[int, object] = {id(module.get_submodule(name)): nn.Identity() for name in children}
    if shared:
        known |= {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, known)
