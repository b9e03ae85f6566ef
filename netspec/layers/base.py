"""What a layer is: one class that checks its settings, gives shapes, declares parameter blobs, and computes.

A subclass registers itself under its class name, which is the type string in prototxt. It never sees the graph:
it gets its own message, the context the net is built in, and its bottoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from netspec import schema
from netspec.errors import LayerError
from netspec.ir.coords import CoordMap

if TYPE_CHECKING:
    import torch

    from netspec.layers.window import Window

Shape = tuple[int, ...]
INT_MAX = 2**31 - 1


@dataclass(frozen=True)
class Context:
    """What a layer may know of the net around it: its phase, and where files and data are found."""

    phase: str = "TRAIN"
    folder: Path | None = None
    data_root: Path | None = None
    sample: bool = False
    allow_python: bool = False
    rank: int = 0
    world: int = 1
    seed: int | None = None
    """Decides what data layers draw at random; without it torch's own seed does."""
    no_pass: frozenset[str] = frozenset()
    """Passes that are switched off, by name."""
    recompute: bool = False
    """Whether backward runs stretches of layers again instead of keeping what lies inside them."""

    def __post_init__(self) -> None:
        for name in ("folder", "data_root"):
            if isinstance(place := getattr(self, name), str):
                object.__setattr__(self, name, Path(place))


@dataclass(frozen=True)
class ParamBlob:
    """A parameter blob a layer declares: its name in the state_dict, shape, filler, and whether it is learned.

    A statistic (learn=False) is saved with the weights but never gets a gradient, whatever its lr_mult.
    """

    name: str
    shape: Shape
    filler: Any = field(default_factory=lambda: schema.FillerParameter())
    learn: bool = True
    value: Any = field(default=None, compare=False)
    """What the blob starts from, an array, in place of what the filler gives."""


class Layer:
    """One layer type. Class attributes say what Caffe checks before a layer is set up."""

    type: ClassVar[str] = ""
    settings: ClassVar[str] = ""
    """The field of LayerParameter that holds the type's settings, read as `self.p`."""
    bottoms: ClassVar[tuple[int, int | None]] = (1, 1)
    tops: ClassVar[tuple[int, int | None]] = (1, 1)
    """Least and most numbers of bottoms and tops; None is no limit."""
    same_count: ClassVar[bool] = False
    """As many tops as bottoms."""
    loss: ClassVar[bool] = False
    """The first top weighs 1 in the loss unless loss_weight says otherwise, and missing tops are made."""
    is_data: ClassVar[bool] = False
    """Makes its tops from outside the net; see DataLayer."""
    reusable_top: ClassVar[bool] = False
    """The top is new memory which this layer's backward does not need: a later layer may overwrite it."""
    aliases: ClassVar[bool] = False
    """A top may share memory with a bottom."""
    rereads: ClassVar[bool] = False
    """Caffe's backward reads the bottom's memory again, where a layer in place (itself or a later one) has written."""
    refuses: ClassVar[bool] = False
    """A gradient asked for a bottom that takes none is an error, with force_backward when backward runs. Losses refuse
    without being asked by force_backward; other types give none in silence."""
    unasked: ClassVar[bool] = False
    """When it runs backward, every bottom that can take a gradient gets one, asked for or not."""
    replaces_diff: bool = False
    """Backward writes over parameter diffs instead of adding to them."""

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not abstract:
            cls.type = cls.__dict__.get("type", cls.__name__)
            _register(cls)

    def __init__(self, proto: Any, context: Context) -> None:
        self.proto = proto
        self.name: str = proto.name
        self.context = context
        self.phase = schema.enum_name(proto, "phase") if proto.HasField("phase") else context.phase
        self.p: Any = getattr(proto, self.settings) if self.settings else None
        self.overwrite = False
        """Set by the net where the bottom's memory may take the top."""
        self.setup()

    def setup(self) -> None:
        """Reads and checks the settings; raises LayerError naming the field at fault."""

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """The shapes of the tops. Also checks the bottoms: it is the one shape rule, used without data and with."""
        raise NotImplementedError

    def params(self, bottoms: Sequence[Shape]) -> list[ParamBlob]:
        """The parameter blobs in Caffe's order."""
        return []

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        """The tops. Gradients come from autograd; where Caffe's differ, from an autograd.Function here."""
        raise NotImplementedError

    def memory(self) -> Any:
        """What the passes so far leave to the next, besides parameters and random generators, fit for JSON; or None."""
        return None

    def recall(self, memory: Any) -> None:
        """The reverse of `memory`; SpecError for what it never gives."""

    def plausible(self, bottom: int, shape: Shape) -> Any:
        """An array of values that a bottom may hold, where noise and class numbers make no sense; else None."""
        return None

    def gradient_to(self, bottom: int) -> bool:
        """Whether a gradient may flow to this bottom; labels and indices take none."""
        return True

    def coord_map(self) -> CoordMap | None:
        """Top position = scale * bottom position + shift, or None where places do not correspond."""
        return None

    def reach(self) -> tuple[int, ...]:
        """How many bottom cells one top cell sees, per spatial axis; one number stands for all."""
        return (1,)

    def pixelwise(self) -> bool:
        """Whether the top at a place depends on the bottom at that place alone, and in the same way everywhere."""
        return False

    def linear(self) -> bool:
        """Whether each channel is multiplied by a factor and shifted by a number, which `factor_and_shift` gives."""
        return False

    def factor_and_shift(self, params: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Of a linear layer, for each channel; no shift is 0."""
        raise NotImplementedError

    def sliding(self) -> Window | None:
        """The window, where the layer slides one over the spatial axes of N x C x H x W, the same way everywhere."""
        return None

    def slide(self, bottom: torch.Tensor, params: list[torch.Tensor], pad: tuple[int, ...]) -> torch.Tensor:
        """The top of a bottom with another padding than the declared one; for layers that have `sliding`."""
        raise NotImplementedError

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """Multiply-accumulates of one forward pass."""
        return 0

    def fail(self, message: str, field: str | None = None) -> LayerError:
        """An error about one of this layer's settings: `raise self.fail("...", "kernel_size")`."""
        path = f"{self.settings}.{field}" if field and self.settings else field
        return LayerError(message, field=path)


class DataLayer(Layer, abstract=True):
    """A layer that reads from outside: `source()` opens on first use, so that a net can be read without its data.

    A source has `next() -> list of arrays`, `peek_shapes()`, `state()`, `restore(state)` and `close()`; the last three
    where there is something to keep or to close.
    """

    bottoms = (0, 0)
    tops = (1, None)
    is_data = True
    _source: Any = None

    def open(self) -> Any:
        """Opens the source."""
        raise NotImplementedError

    def source(self) -> Any:
        """The opened source."""
        if self._source is None:
            self._source = self.open()
        return self._source

    def declared(self) -> list[Shape]:
        """What the settings say of the tops' shapes, without the data: 0 stands for an axis they leave open, and of
        further tops they say nothing."""
        return []

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [tuple(s) for s in self.source().peek_shapes()]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        import torch

        return [torch.from_numpy(a) for a in self.source().next()]

    def memory(self) -> Any:
        """The place in the data."""
        return self.source().state() if hasattr(self.source(), "state") else None

    def recall(self, memory: Any) -> None:
        if hasattr(self.source(), "restore"):
            self.source().restore(memory)


registry: dict[str, type[Layer]] = {}


def _register(cls: type[Layer]) -> None:
    known = registry.get(cls.type)
    if known is not None and known.__module__ != cls.__module__:
        raise TypeError(f"layer type '{cls.type}' is defined in {known.__module__} and {cls.__module__}")
    registry[cls.type] = cls


def count(shape: Sequence[int], start: int = 0, end: int | None = None) -> int:
    """The number of values in a shape, or in axes start..end of it."""
    return prod(shape[start:end])


def canonical_axis(layer: Layer, axis: int, shape: Shape, field: str = "axis") -> int:
    """An axis counted from the end if negative, as a number from 0; refused outside the shape."""
    if not -len(shape) <= axis < len(shape):
        raise layer.fail(f"axis {axis} is outside a bottom of {len(shape)} axes {list(shape)}", field)
    return axis % len(shape)


def same_shape(layer: Layer, bottoms: Sequence[Shape], first: int = 0, second: int = 1) -> None:
    """Refuses two bottoms of different shape."""
    if bottoms[first] != bottoms[second]:
        raise layer.fail(f"bottoms {list(bottoms[first])} and {list(bottoms[second])} differ in shape")
