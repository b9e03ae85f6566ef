"""Data: the records of an LMDB database."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec import schema
from netspec.layers.base import Shape
from netspec.layers.prefetching import MOST_AHEAD, PrefetchingLayer

if TYPE_CHECKING:
    from netspec.data.batches import Item
    from netspec.data.database import Database
    from netspec.data.transform import Transform

log = logging.getLogger(__name__)


class Data(PrefetchingLayer):
    """top 0 = transform(record), top 1 = its label: batch_size records in the order of their keys, then from the start.

    The first pass starts up to rand_skip records in; `shuffle` (Intel, NVIDIA) takes a new order in every pass. A
    record is raw bytes, floats, or an encoded image (blue, green, red; force_color and force_gray choose its channels).
    transform_param may also resize, as netspec.data.resizing says. Workers of a run take every world-th record.
    Shapes: no bottom -> N x C x H x W, cropped to crop_size if given; labels N. All records of a batch are of one size.
    Errors: a database that is missing, empty, cut short, or a LevelDB; a damaged record; a crop larger than a record;
        a mean of another size.
    Source: Caffe's Data. What the database is counts, whatever `backend` says; `prefetch` batches are made ahead.
    """

    settings = "data_param"
    tops = (1, 2)
    resizes = True
    fields = (
        *("source", "batch_size", "rand_skip", "backend", "prefetch", "shuffle"),
        *("scale", "mean_file", "crop_size", "mirror", "force_encoded_color"),
    )

    def declared(self) -> list[Shape]:
        return [self.images((0, 0), self.color() is False), (self.p.batch_size,)]

    def open(self) -> Any:
        from netspec.data.batches import Batches, in_order, open_items
        from netspec.data.database import open_database

        self.check_fields()
        places, seed = self.places(), self.seed()
        transform = self.transform(places)
        with self.blame("source"):
            database = open_database(self.find_source(places, "database", Path.exists))
            if schema.enum_name(self.p, "backend") != "LMDB":
                log.warning("layer '%s': %s is an LMDB; say backend: LMDB", self.name, self.p.source)
            skip = skipped(self.p.rand_skip, seed)
            order = in_order(len(database), seed, shuffle=self.p.shuffle, skip=skip, **self.share())
            batches = Batches(order, self.p.batch_size, seed, database.keys())
            load = Records(database, transform, self.color())
            return open_items(batches, load, len(self.proto.top), min(self.p.prefetch, MOST_AHEAD))

    def color(self) -> bool | None:
        """Whether encoded images become colour or grey; None leaves them as they are."""
        param = self.proto.transform_param
        return True if param.force_color else False if param.force_gray else None


class Records:
    """`load(key of the record, key of the draw)`: one record, transformed."""

    def __init__(self, database: Database, transform: Transform, color: bool | None) -> None:
        self.database, self.transform, self.color = database, transform, color

    def __call__(self, key: bytes, draw: str) -> Item:
        from netspec.data import datum
        from netspec.data.batches import Item

        where = self.database.where(key)
        record = datum.parse(self.database.read([key])[0], where)
        pixels = datum.pixels(record, where, self.color)
        return Item(self.transform(pixels, draw, where), record.label, where)


def skipped(rand_skip: int, seed: int) -> int:
    """How many items the first pass leaves out: 0..rand_skip-1."""
    from random import Random

    return Random(f"skip {seed}").randrange(rand_skip) if rand_skip else 0
