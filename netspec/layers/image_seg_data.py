"""ImageSegData: images and the labels of their pixels, named in a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netspec import schema
from netspec.errors import LayerError
from netspec.layers.base import Shape
from netspec.layers.prefetching import TRANSFORM
from netspec.layers.segmentation_data import Pairs, SegmentationData

if TYPE_CHECKING:
    from netspec.data.pairs import Recipe
    from netspec.data.paths import Places


class ImageSegData(SegmentationData):
    """top 0 = (image − mean_value) · scale, top 1 = the label of each pixel, top 2 = the height and width that count.

    A line of the list `source` is an image and, after a space, a label: of label_type PIXEL another image, whose
    palette indices or grey values are the labels, of IMAGE (the default) one number for all pixels; NONE has none and
    gives ignore_label. In TRAIN both are zoomed by a random one of scale_factors. What is smaller than crop_size (or
    crop_h x crop_w) is padded below and to the right with the mean and ignore_label; then the crop is random in TRAIN
    and in the centre in TEST, and `mirror` turns half of the items.
    Shapes: no bottom -> N x C x h x w, N x 1 x h x w, N x 1 x 1 x 2.
    Errors: a list that is missing or empty, or has too few words; an image or label that is missing or damaged; sizes
        that differ; mean_file; crop_h without crop_w, or with crop_size.
    Source: DeepLab's ImageSegData, as PSPNet has it. root_folder is put in front of both names as it is.
    """

    settings = "image_data_param"
    tops = (1, 3)
    fields = (
        *("source", "batch_size", "rand_skip", "shuffle", "new_height", "new_width", "is_color", "root_folder"),
        *("ignore_label", "label_type", "scale", "mean_file", "crop_size", "mirror"),
    )

    def setup(self) -> None:
        super().setup()
        self.label_type = schema.enum_name(self.p, "label_type")
        self.words = 1 if self.label_type == "NONE" else 2
        param = self.proto.transform_param
        self.crop = (param.crop_h, param.crop_w)
        if bool(self.crop[0]) != bool(self.crop[1]):
            raise LayerError("give crop_h and crop_w, or neither", field="transform_param.crop_h")
        if self.crop[0] and param.crop_size:
            raise LayerError("give crop_size, or crop_h and crop_w", field="transform_param.crop_size")
        self.crop = self.crop if self.crop[0] else (param.crop_size, param.crop_size)
        if not all(factor > 0 for factor in param.scale_factors):
            raise LayerError("scale_factors must be above 0", field="transform_param.scale_factors")

    def check_fields(self) -> None:
        self._only(self.proto.transform_param, (*TRANSFORM, "scale_factors", "crop_h", "crop_w"), "transform_param")
        self._only(self.p, self.fields, self.settings)

    def declared(self) -> list[Shape]:
        size = self.crop if self.crop[0] else (self.p.new_height, self.p.new_width)
        batch = self.p.batch_size
        return [self.images(size, not self.p.is_color), (batch, 1, *size), (batch, 1, 1, 2)]

    def recipe(self) -> Recipe:
        from netspec.data.pairs import Recipe

        param = self.proto.transform_param
        return Recipe(
            (self.p.new_height, self.p.new_width),
            self.crop,
            tuple(param.scale_factors),
            tuple(param.mean_value),
            param.scale,
            param.mirror,
            self.phase == "TRAIN",
            self.p.ignore_label,
        )

    def loader(self, lines: list[tuple[str, ...]], places: Places, recipe: Recipe) -> Pairs:
        label = {"PIXEL": None, "IMAGE": "line", "NONE": self.p.ignore_label}[self.label_type]
        return Pairs(lines, places, recipe, self.p.is_color, (self.p.root_folder,) * 2, label)
