"""WindowData: windows of images, of objects and of background."""

from __future__ import annotations

from typing import Any

from netspec.errors import LayerError
from netspec.layers.base import Shape
from netspec.layers.prefetching import PrefetchingLayer

AHEAD = 4
MODES = ("warp", "square")


class WindowData(PrefetchingLayer):
    """top 0 = windows drawn from the file `source`, warped to crop_size x crop_size; top 1 = their classes.

    A batch begins with background, windows that overlap an object by less than bg_threshold (class 0); its last
    fg_fraction are windows that overlap one by fg_threshold or more. `context_pad` pixels of the result show what
    is around the window; crop_mode "square" takes the tightest square around it instead of distorting it. What lies
    outside the image is 0. top = (pixels - mean) scale; a mean image is used around its centre.
    Shapes: no bottom -> N x C x crop_size x crop_size; labels N.
    Errors: no crop_size, context_pad of half of it or more, thresholds that leave no windows, a file that is missing
        or wrong, an image that is missing or damaged, a window outside its image.
    Source: Caffe's WindowData (R-CNN). crop_size, mirror and the mean are those of transform_param; scale is the one
        of window_data_param.
    """

    settings = "window_data_param"
    tops = (2, 2)
    idle = {
        "scale": "window_data_param.scale scales",
        **dict.fromkeys(("force_color", "force_gray"), "windows are in colour"),
    }
    fields = (
        *("source", "scale", "batch_size", "fg_threshold", "bg_threshold", "fg_fraction", "context_pad", "crop_mode"),
        *("cache_images", "root_folder", "mean_file", "crop_size", "mirror"),
    )

    def setup(self) -> None:
        super().setup()
        size = self.proto.transform_param.crop_size
        if not size:
            raise LayerError("crop_size is missing or 0", field="transform_param.crop_size")
        if 2 * self.p.context_pad >= size:
            raise self.fail(f"context_pad {self.p.context_pad} leaves nothing of crop_size {size}", "context_pad")
        if self.p.crop_mode not in MODES:
            raise self.fail(f"crop_mode is '{self.p.crop_mode}', 'warp' or 'square' is wanted", "crop_mode")
        if not 0 <= self.p.fg_fraction <= 1:
            raise self.fail(f"fg_fraction {self.p.fg_fraction:g} is not in 0..1", "fg_fraction")

    def declared(self) -> list[Shape]:
        return [self.images((0, 0)), (self.p.batch_size,)]

    def open(self) -> Any:
        from netspec.data.batches import Batches, check_count, in_order, open_stream
        from netspec.data.windows import Choice, Loader, Warp, read_windows

        self.check_fields()
        p, places, seed = self.p, self.places(), self.seed()
        file = read_windows(self.find_source(places, "window file"))
        transform = self.transform(places)
        size = transform.crop
        warp = Warp(size, p.context_pad, p.crop_mode == "square", transform.mean, transform.mean_values, p.scale)
        with self.blame("source"):
            check_count((p.batch_size, 3, size, size))
            choice = Choice(file.windows, p.fg_threshold, p.bg_threshold, p.batch_size, p.fg_fraction)
        root = p.root_folder  # the threads must not hold the layer itself
        load = Loader(
            file, choice, warp, transform.mirror, lambda name: places.file(root + name, "image"), p.cache_images
        )
        order = in_order(len(file.windows), seed, **self.share())
        return open_stream(Batches(order, p.batch_size, seed), load, AHEAD)
