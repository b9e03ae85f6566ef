"""What layers share that read batches from files in background threads: paths, seeds, transform_param."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from netspec.errors import LayerError, SpecError
from netspec.layers.base import INT_MAX, DataLayer, Shape
from netspec.lazytorch import torch

if TYPE_CHECKING:
    from netspec.data.paths import Places
    from netspec.data.transform import Transform

log = logging.getLogger(__name__)

TRANSFORM = ("scale", "mirror", "crop_size", "mean_file", "mean_value", "force_color", "force_gray")
HINTS = ("use_gpu_transform", "cache", "precache", "threads", "parser_threads", "shuffle_buffer_size")
"""Fields of forks that change how fast data are read, not what is read."""
IS_COLOR: dict[str, str] = dict.fromkeys(("force_color", "force_gray"), "is_color decides")
MOST_AHEAD = 64


class PrefetchingLayer(DataLayer, abstract=True):
    """A data layer with batch_size and source. Workers of one training run must be given one seed."""

    fields: tuple[str, ...] = ()
    """The fields of the settings that are honoured; others must be at their default when the source is opened."""
    resizes = False
    """Whether transform_param may resize; see netspec.data.resizing."""
    idle: ClassVar[dict[str, str]] = {}
    """Fields of transform_param that do nothing here, as in Caffe, and what does it instead."""

    def setup(self) -> None:
        if not 0 < self.p.batch_size <= INT_MAX:
            raise self.fail(f"batch_size {self.p.batch_size} is not in 1..{INT_MAX}", "batch_size")
        param = self.proto.transform_param
        if param.mean_file and param.mean_value:
            raise LayerError("mean_file and mean_value exclude each other", field="transform_param.mean_value")
        if param.force_color and param.force_gray:
            raise LayerError("force_color and force_gray exclude each other", field="transform_param.force_gray")
        if self.resizes:
            from netspec.data import resizing

            resizing.check(param)
        for field, instead in self.idle.items():
            if param.HasField(field):
                log.warning("layer '%s': transform_param.%s does nothing here; %s", self.name, field, instead)

    def images(self, size: tuple[int, int], gray: bool = False) -> Shape:
        """The shape of a batch of images of a size, cropped to crop_size if given; 0 is a size left open."""
        crop = self.proto.transform_param.crop_size
        return (self.p.batch_size, 1 if gray else 3, *((crop, crop) if crop else size))

    def places(self) -> Places:
        """Where the files of the net are looked for."""
        from netspec.data.paths import Places

        return Places.of(self.context.folder, self.context.data_root)

    def seed(self) -> int:
        """A number of this layer's own, from the context's seed or torch's; workers without one all take 0."""
        seed = self.context.seed
        if seed is None:
            seed = torch.initial_seed() if self.context.world == 1 else 0
        return int.from_bytes(sha256(f"{seed} {self.name} {self.phase}".encode(errors="replace")).digest()[:6], "big")

    def share(self) -> dict[str, Any]:
        """This worker's part, as the orders take it."""
        return {"rank": self.context.rank, "world": self.context.world}

    def check_fields(self) -> None:
        """Refuses settings of forks that would change the values."""
        from netspec.data import resizing

        self._only(self.proto.transform_param, (*TRANSFORM, *resizing.FIELDS * self.resizes), "transform_param")
        self._only(self.p, self.fields, self.settings)

    def _only(self, param: Any, known: Collection[str], path: str) -> None:
        for field, value in param.ListFields():
            if field.name not in known and field.name not in HINTS and value != field.default_value:
                raise LayerError(f"{field.name} is not honoured by {self.type}", field=f"{path}.{field.name}")

    def transform(self, places: Places) -> Transform:
        """The transform, its mean image read."""
        from netspec.data import resizing, transform

        param = self.proto.transform_param
        with self.blame("mean_file", "transform_param"):
            plain = transform.make(param, self.phase == "TRAIN", places.file)
        return replace(plain, resize=resizing.make(param)) if self.resizes else plain

    @contextmanager
    def blame(self, field: str, settings: str | None = None) -> Iterator[None]:
        """What goes wrong with a file is told at the field that names it."""
        try:
            yield
        except LayerError:
            raise
        except SpecError as e:
            if e.loc is not None:
                raise
            raise LayerError(e.message, field=f"{settings or self.settings}.{field}") from None

    def find_source(self, places: Places, what: str, exists: Callable[[Path], bool] = Path.is_file) -> Path:
        if not self.p.source:
            raise self.fail("source is missing or empty", "source")
        with self.blame("source"):
            return places.find(self.p.source, what, exists)
