"""AnnotatedData: images with boxes from an LMDB database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec import schema
from netspec.errors import SpecError
from netspec.layers.base import Shape
from netspec.layers.data import skipped
from netspec.layers.prefetching import MOST_AHEAD, TRANSFORM, PrefetchingLayer
from netspec.layers.priors import ROW

if TYPE_CHECKING:
    from netspec.data.annotated import Annotator, Picture
    from netspec.data.batches import Job
    from netspec.data.database import Database

OWN = ("crop_h", "crop_w", "resize_param", "noise_param", "distort_param", "expand_param", "emit_constraint")


class AnnotatedData(PrefetchingLayer):
    """top 0 = images, top 1 = rows (image in the batch, class, instance, xmin, ymin, xmax, ymax, difficult).

    Images are distorted, enlarged (expand_param), cut to a random part (batch_sampler), resized, given noise, cropped,
    mirrored, and mean and scale are applied; boxes, in shares of the image, move along, and those that leave it, or do
    not meet emit_constraint, go. A batch without a box has one row of −1.
    Shapes: no bottom -> N x C x H x W, 1 x 1 x boxes x 8; records without boxes of their own: labels N.
    Errors: those of Data; resize_param without height or width, or with height_scale; clahe, convert_to_hsv or
        convert_to_lab; a sampler whose limits have no sense; a batch of records with and without boxes.
    Source: SSD's AnnotatedData (Liu et al. 2016). Hue and saturation may differ by 1 from OpenCV's. A sampled part must
        keep all limits for one and the same object. label_map_file is not read.
    """

    settings = "data_param"
    tops = (1, 2)
    fields = ("source", "batch_size", "rand_skip", "backend", "prefetch", "shuffle")

    def setup(self) -> None:
        super().setup()
        from netspec.data.annotated import check

        check(self.proto.transform_param, self.proto.annotated_data_param.batch_sampler)

    def declared(self) -> list[Shape]:
        param = self.proto.transform_param
        resize = param.resize_param
        whole = schema.enum_name(resize, "resize_mode") != "FIT_SMALL_SIZE"
        size = (resize.height, resize.width) if whole and resize.prob == 1 else (0, 0)
        size = (param.crop_h, param.crop_w) if param.crop_h else size
        return [self.images(size, self.color() is False), (1, 1, 1, ROW)]

    def check_fields(self) -> None:
        self._only(self.proto.transform_param, (*TRANSFORM, *OWN), "transform_param")
        self._only(self.p, self.fields, self.settings)

    def open(self) -> Any:
        from dataclasses import replace

        from netspec.data.annotated import Annotator
        from netspec.data.batches import Batches, check_count, in_order, open_stream
        from netspec.data.database import open_database

        self.check_fields()
        places, seed = self.places(), self.seed()
        plain = replace(self.transform(places), mirror=False, crop=0)
        annotator = Annotator(self.proto.transform_param, self.proto.annotated_data_param.batch_sampler, plain)
        with self.blame("source"):
            database = open_database(self.find_source(places, "database", Path.exists))
            skip = skipped(self.p.rand_skip, seed)
            order = in_order(len(database), seed, shuffle=self.p.shuffle, skip=skip, **self.share())
            batches = Batches(order, self.p.batch_size, seed, database.keys())
            load = Batch(database, annotator, self.color(), self.proto.annotated_data_param, len(self.proto.top))
            check_count((self.p.batch_size, *load.one(batches.pick(0), "0")[0].pixels.shape))
            return open_stream(batches, load, min(self.p.prefetch, MOST_AHEAD))

    def color(self) -> bool | None:
        """Whether encoded images become colour or grey; None leaves them as they are."""
        param = self.proto.transform_param
        return True if param.force_color else False if param.force_gray else None


class Batch:
    """`load(job)`: the records of a job as images and rows."""

    def __init__(self, database: Database, annotator: Annotator, color: bool | None, param: Any, tops: int) -> None:
        self.database, self.annotator, self.color, self.param, self.tops = database, annotator, color, param, tops

    def __call__(self, job: Job) -> list[np.ndarray]:
        items = [self.one(key, draw) for key, draw in job]
        first = items[0][0].pixels
        for (picture, _, _), (key, _) in zip(items, job, strict=True):
            if picture.pixels.shape != first.shape:
                raise SpecError(
                    f"{self.database.where(key)} is {list(picture.pixels.shape)}, the batch began with "
                    f"{list(first.shape)}; resize_param, crop_size or batch_size 1 makes them alike"
                )
        data = np.stack([picture.pixels for picture, _, _ in items])
        return [data, self.labels(items)][: self.tops]

    def labels(self, items: list[tuple[Picture, bool, int]]) -> np.ndarray:
        boxed = {has_boxes for _, has_boxes, _ in items}
        if len(boxed) > 1:
            raise SpecError("a batch holds records with boxes and records without; anno_type decides")
        if not boxed.pop():
            return np.array([label for _, _, label in items], np.float32)
        rows = [
            np.concatenate([np.full((len(p.boxes), 1), image), p.marks[:, :2], p.boxes, p.marks[:, 2:]], 1)
            for image, (p, _, _) in enumerate(items)
        ]
        table = np.concatenate(rows).astype(np.float32)
        return (table if len(table) else np.full((1, ROW), -1, np.float32))[None, None]

    def one(self, key: bytes, draw: str) -> tuple[Picture, bool, int]:
        """A record's picture, whether it has boxes (even none of them), and its label."""
        from google.protobuf.message import DecodeError

        from netspec.data import datum
        from netspec.data.annotated import Picture

        where = self.database.where(key)
        record = schema.message_class("AnnotatedDatum")()
        try:
            record.ParseFromString(self.database.read([key])[0])
        except DecodeError:
            raise SpecError(f"{where} is no AnnotatedDatum (cut short or damaged)") from None
        pixels = datum.pixels(record.datum, where, self.color).transpose(1, 2, 0)
        found = [(group.group_label, one) for group in record.annotation_group for one in group.annotation]
        boxes = np.array([[o.bbox.xmin, o.bbox.ymin, o.bbox.xmax, o.bbox.ymax] for _, o in found]).reshape(-1, 4)
        marks = np.array([[label, o.instance_id, o.bbox.difficult] for label, o in found], float).reshape(-1, 3)
        picture = self.annotator(Picture(pixels, boxes, marks), draw, where)
        return picture, record.HasField("type") or self.param.HasField("anno_type"), record.datum.label
