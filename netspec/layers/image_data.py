"""ImageData: images named in a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netspec.layers.base import Shape
from netspec.layers.data import skipped
from netspec.layers.prefetching import IS_COLOR, PrefetchingLayer

if TYPE_CHECKING:
    from netspec.data.batches import Item
    from netspec.data.imagelist import Line
    from netspec.data.paths import Places
    from netspec.data.transform import Transform

AHEAD = 4


class ImageData(PrefetchingLayer):
    """top 0 = transform(image resized to new_height x new_width), top 1 = its label, in the order of the list `source`.

    A line of the list is a file name, a space and an integer label; root_folder is put in front of the name as it is.
    `shuffle` takes a new order in every pass; the first pass starts up to rand_skip lines in. Channels are blue, green,
    red, or one grey one without is_color. Workers of a run take every world-th line. transform_param may also resize,
    as netspec.data.resizing says.
    Shapes: no bottom -> N x C x H x W, cropped to crop_size if given; labels N. All images of a batch are of one size.
    Errors: new_height without new_width, a list that is missing, empty or has no label, an image that is missing or
        damaged, a crop larger than an image, a mean of another size.
    Source: Caffe's ImageData; images are resized bilinearly as by OpenCV.
    """

    settings = "image_data_param"
    tops = (2, 2)
    idle = IS_COLOR
    resizes = True
    fields = (
        *("source", "batch_size", "rand_skip", "shuffle", "new_height", "new_width", "is_color", "root_folder"),
        *("scale", "mean_file", "crop_size", "mirror"),
    )

    def setup(self) -> None:
        super().setup()
        if bool(self.p.new_height) != bool(self.p.new_width):
            given, missing = ("new_height", "new_width") if self.p.new_height else ("new_width", "new_height")
            raise self.fail(f"{given} is given without {missing}; give both or none", given)

    def declared(self) -> list[Shape]:
        return [self.images((self.p.new_height, self.p.new_width), not self.p.is_color), (self.p.batch_size,)]

    def open(self) -> Any:
        from netspec.data.batches import Batches, in_order, open_items
        from netspec.data.imagelist import read_list

        self.check_fields()
        places, seed = self.places(), self.seed()
        lines = read_list(self.find_source(places, "image list"))
        load = Images(lines, places, self.transform(places), self.p)
        skip = skipped(self.p.rand_skip, seed)
        order = in_order(len(lines), seed, shuffle=self.p.shuffle, skip=skip, **self.share())
        with self.blame("source"):
            return open_items(Batches(order, self.p.batch_size, seed), load, 2, AHEAD)


class Images:
    """`load(number of the line, key of the draw)`: one image, resized and transformed."""

    def __init__(self, lines: Sequence[Line], places: Places, transform: Transform, param: Any) -> None:
        self.lines, self.places, self.transform = lines, places, transform
        self.root, self.color = param.root_folder, param.is_color
        self.size = (param.new_height, param.new_width)

    def __call__(self, number: int, draw: str) -> Item:
        from netspec.data.batches import Item
        from netspec.data.images import decode, resize

        name, label = self.lines[number]
        path = self.places.file(self.root + name, "image")
        pixels = decode(path, self.color, path)
        if self.size[0]:
            pixels = resize(pixels, *self.size)
        return Item(self.transform(pixels.transpose(2, 0, 1), draw, str(path)), label, str(path))
