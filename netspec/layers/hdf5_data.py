"""HDF5Data: rows of HDF5 files."""

from __future__ import annotations

from typing import Any

from netspec.errors import LayerError
from netspec.layers.prefetching import PrefetchingLayer

AHEAD = 2


class HDF5Data(PrefetchingLayer):
    """top = batch_size rows of the set of the top's name, through the files of the list `source` in turn.

    `shuffle` takes the files, and the rows of each, in a new order in every pass. Workers of a run take every world-th
    row.
    Shapes: no bottom -> N x the set's axes behind the first.
    Errors: a transform_param; a list or file that is missing; a set that is missing, of other than numbers, or of
        another number or size of rows than the others.
    Source: Caffe's HDF5Data. Values become float32.
    """

    settings = "hdf5_data_param"
    fields = ("source", "batch_size", "shuffle")

    def setup(self) -> None:
        super().setup()
        if self.proto.HasField("transform_param"):
            raise LayerError(
                "HDF5Data does not transform data; scale and crop what the files hold", field="transform_param"
            )

    def open(self) -> Any:
        from netspec.data.batches import Batches, check_count, in_order, open_stream
        from netspec.data.hdf5 import ShuffledFiles, open_rows, read_files

        self.check_fields()
        places, seed, batch = self.places(), self.seed(), self.p.batch_size
        with self.blame("source"):
            rows = open_rows(read_files(self.find_source(places, "HDF5 list"), places), list(self.proto.top))
            for shape in rows.shapes:
                check_count((batch, *shape))
        if self.p.shuffle:
            order = ShuffledFiles(rows.counts, seed, **self.share())
        else:
            order = in_order(sum(rows.counts), seed, **self.share())
        return open_stream(Batches(order, batch, seed), rows.load, AHEAD)
