"""MemoryData: arrays that the caller gives."""

from __future__ import annotations

import logging
from typing import Any

from netspec.layers.base import INT_MAX, DataLayer, Shape, count

SIZES = ("batch_size", "channels", "height", "width")

log = logging.getLogger(__name__)


class MemoryData(DataLayer):
    """top 0, top 1 = the next batch_size rows of the data and labels given by `set_input_arrays`, in a circle.

    Shapes: no bottom -> batch_size x channels x height x width; labels batch_size x 1 x 1 x 1.
    Errors: a size that is missing or 0; a pass before there are data; data of another size, or whose rows are no
        multiple of batch_size.
    Source: Caffe's MemoryData; transform_param does nothing to arrays there either. All workers read the same arrays.
    """

    settings = "memory_data_param"
    tops = (2, 2)

    def setup(self) -> None:
        for field in SIZES:
            if getattr(self.p, field) < 1:
                raise self.fail(f"{field} is missing or 0", field)
        self.size: tuple[int, ...] = tuple(getattr(self.p, field) for field in SIZES)
        if count(self.size) > INT_MAX:
            raise self.fail(f"a batch of {list(self.size)} has more than {INT_MAX} values", "batch_size")
        if self.proto.HasField("transform_param"):
            log.warning("layer '%s': transform_param does nothing to arrays", self.name)

    def declared(self) -> list[Shape]:
        return [self.size, (self.size[0], 1, 1, 1)]

    def open(self) -> Any:
        from netspec.data.memory import Memory

        return Memory(self.size)

    def set_input_arrays(self, data: Any, labels: Any) -> None:
        """data: rows x channels x height x width, labels: one per row. They are not copied."""
        self.source().set(data, labels)
