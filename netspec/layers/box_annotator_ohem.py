"""BoxAnnotatorOHEM: which regions are hard enough to learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.layers.base import Layer, Shape, count
from netspec.layers.boxes import array, descending
from netspec.layers.rois import ROW
from netspec.lazytorch import torch


class BoxAnnotatorOHEM(Layer):
    """The roi_per_img regions of greatest loss per image keep label and weights, others get ignore_label and 0.

    Regions with another label than 0 come first, then those with label 0.
    Shapes: regions R x 5 x H x W, losses and labels R x 1 x H x W, weights R x C x H x W (H and W may be missing) ->
        labels R x 1 x H x W, weights as the bottom's.
    Errors: roi_per_img missing or 0; bottoms of another form.
    Source: R-FCN's BoxAnnotatorOHEM (Dai et al. 2016, Shrivastava et al. 2016). No gradient.
    """

    settings = "box_annotator_ohem_param"
    bottoms = (4, 4)
    tops = (2, 2)

    def setup(self) -> None:
        if not self.p.roi_per_img:
            raise self.fail("roi_per_img is missing or 0", "roi_per_img")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        rois, loss, label, weight = bottoms
        if len(rois) < 2 or rois[1] != ROW:
            raise self.fail(f"bottom 0 {list(rois)} must hold rows of five: image, x1, y1, x2, y2")
        places = rois[0] * count(rois, 2)
        for index, shape in enumerate((loss, label), 1):
            if count(shape) != places:
                raise self.fail(f"bottom {index} {list(shape)} must hold one value per region, {places}")
        if len(weight) < 2 or weight[0] != rois[0] or count(weight, 2) != count(rois, 2):
            raise self.fail(f"bottom 3 {list(weight)} must hold weights of {rois[0]} regions")
        spatial = rois[2:] if len(rois) > 2 else (1, 1)
        return [(rois[0], 1, *spatial), weight]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        rois, loss, label, weight = bottoms
        image = array(rois.reshape(len(rois), ROW, -1)[:, 0]).astype(np.int64).ravel()
        labels = array(label).ravel()
        order = descending(array(loss).ravel())
        keep = np.zeros(len(order), bool)
        for number in np.unique(image):
            own = order[image[order] == number]
            ranked = np.concatenate([own[labels[own] != 0], own[labels[own] == 0]])
            keep[ranked[: self.p.roi_per_img]] = True
        kept = torch.from_numpy(keep).to(label.device)
        shapes = self.shapes([tuple(b.shape) for b in bottoms])
        new = torch.where(kept, label.detach().reshape(-1), self.p.ignore_label).to(label.dtype)
        rows = kept.reshape(len(rois), 1, -1)
        return [new.reshape(shapes[0]), (weight.detach().reshape(*weight.shape[:2], -1) * rows).reshape(weight.shape)]

    def gradient_to(self, bottom: int) -> bool:
        return False
