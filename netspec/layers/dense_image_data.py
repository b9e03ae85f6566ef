"""DenseImageData: images and the labels of their pixels, named in a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netspec.layers.base import Shape
from netspec.layers.segmentation_data import Pairs, SegmentationData

if TYPE_CHECKING:
    from netspec.data.pairs import Recipe
    from netspec.data.paths import Places


class DenseImageData(SegmentationData):
    """top 0 = (image − mean_value) · scale, top 1 = the label of each pixel.

    A line of the list `source` is an image and, after a space, another whose palette indices or grey values are the
    labels; both are resized to new_height x new_width, labels without mixing. crop_height x crop_width (or crop_size)
    cuts both at one place, random in TRAIN and in the centre in TEST; mirror turns half of the items. Labels are
    label_divide_factor times smaller than the image. root_folder (or root_folder_image and root_folder_label) is put in
    front of the names as it is.
    Shapes: no bottom -> N x C x h x w, N x 1 x h x w.
    Errors: a list that is missing or empty, or has too few words; an image or label that is missing or damaged; sizes
        that differ; mean_file; one of a pair of sizes alone; a crop larger than the image, or of divided labels.
    Source: SegNet's DenseImageData; crop_height, mirror and label_divide_factor are ENet's. SegNet refuses crop_size
        and mirror in transform_param, which are honoured here.
    """

    settings = "dense_image_data_param"
    tops = (2, 2)
    fields = (
        *("source", "batch_size", "rand_skip", "shuffle", "new_height", "new_width", "is_color", "root_folder"),
        *("label_divide_factor", "crop_height", "crop_width", "mirror", "root_folder_image", "root_folder_label"),
    )

    def setup(self) -> None:
        super().setup()
        p, crop_size = self.p, self.proto.transform_param.crop_size
        if p.mean_file:
            raise self.fail("mean_file is not supported; give transform_param.mean_value", "mean_file")
        crop = self.both("crop_height", "crop_width")
        if crop[0] and crop_size:
            raise self.fail("give crop_height and crop_width, or crop_size", "crop_height")
        self.crop = crop if crop[0] else (crop_size, crop_size)
        if p.label_divide_factor < 1:
            raise self.fail("label_divide_factor must be at least 1", "label_divide_factor")
        if p.label_divide_factor > 1 and self.crop[0]:
            raise self.fail("label_divide_factor and a crop exclude each other", "label_divide_factor")

    def declared(self) -> list[Shape]:
        size = self.crop if self.crop[0] else (self.p.new_height, self.p.new_width)
        labels = [n // self.p.label_divide_factor for n in size]
        return [self.images(size, not self.p.is_color), (self.p.batch_size, 1, *labels)]

    def recipe(self) -> Recipe:
        from netspec.data.pairs import Recipe

        param = self.proto.transform_param
        return Recipe(
            (self.p.new_height, self.p.new_width),
            self.crop,
            mean=tuple(param.mean_value),
            scale=param.scale,
            mirror=param.mirror or self.p.mirror,
            train=self.phase == "TRAIN",
            divide=self.p.label_divide_factor,
        )

    def loader(self, lines: list[tuple[str, ...]], places: Places, recipe: Recipe) -> Pairs:
        p = self.p
        roots = (p.root_folder_image or p.root_folder, p.root_folder_label or p.root_folder)
        return Pairs(lines, places, recipe, p.is_color, roots)
