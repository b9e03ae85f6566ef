"""Forms of layers about boxes: prior boxes, what is found in them, regions of interest."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec import schema
from netspec.export.forms import Code, Form, NotExported, Site, call, form, number
from netspec.export.forms.dense import parameter
from netspec.export.nodes import Nodes
from netspec.layers import Shape

COLUMNS = 7
"""Of a row of DetectionOutput: image, label, confidence, four corners."""


@form("PriorBox")
class PriorBox(Form):
    """The boxes of planes whose sizes do not change are constants."""

    def constant(self, site: Site) -> bool:
        cells, image = (slice(2, None),) * 2
        return site.fixed(0, cells) and (bool(site.layer.image) or site.fixed(1, image))

    def boxes(self, site: Site) -> np.ndarray:
        return site.layer.values(site.bottoms[0][2:], site.bottoms[1][2:])

    def corners(self, site: Site) -> np.ndarray:
        """One cell's boxes in pixels around its centre, boxes x 4."""
        half = site.layer.sizes() / 2
        return np.concatenate([-half, half], 1).astype(np.float32)

    def variance(self, site: Site) -> np.ndarray:
        return np.resize(np.array(site.p.variance or [0.1], np.float32), 4)

    def code(self, site: Site) -> Code:
        if self.constant(site):
            return Code(("{m0}",), (parameter(self.boxes(site)),))
        members = (parameter(self.corners(site), "corners"), parameter(self.variance(site), "variance"))
        layer, settings = site.layer, {}
        settings |= {} if site.p.offset == 0.5 else {"offset": number(site.p.offset)}
        settings |= {} if layer.image is None else {"size": pair(layer.image)}
        settings |= {} if layer.step is None else {"step": pair(layer.step)}
        settings |= {"clip": True} if site.p.clip else {}
        return Code((call("prior_boxes", "{0}", "{1}", "{m0}", "{m1}", **settings),), members, helpers=("prior_boxes",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        if self.constant(site):
            return [g.add("Identity", g.values(self.boxes(site)))]
        cells = g.add("Cast", g.shape(x[0], 2, 4), to=1)
        image = g.values(site.layer.image) if site.layer.image else g.add("Cast", g.shape(x[1], 2, 4), to=1)
        step = g.values(site.layer.step) if site.layer.step else g.add("Div", image, cells)
        rows, columns = (self.centres(site, g, x[0], step, axis) for axis in (0, 1))
        shape = g.join(g.shape(x[0], 2, 4), g.ints(1))
        rows = g.add("Expand", g.add("Unsqueeze", rows, g.ints(1, 2)), shape)
        columns = g.add("Expand", g.add("Unsqueeze", columns, g.ints(0, 2)), shape)
        centre = g.add("Unsqueeze", g.add("Concat", columns, rows, columns, rows, axis=2), g.ints(2))
        width_first = g.add("Gather", image, g.ints(1, 0, 1, 0))
        boxes = g.add("Div", g.add("Add", centre, g.values(self.corners(site), "corners")), width_first)
        if site.p.clip:
            boxes = g.add("Clip", boxes, g.values(0.0), g.values(1.0))
        variance = g.add("Expand", g.values(self.variance(site), "variance"), g.shape(boxes, 0))
        return [g.add("Concat", *(g.add("Reshape", v, g.ints(1, 1, -1)) for v in (boxes, variance)), axis=1)]

    def centres(self, site: Site, g: Nodes, x: str, step: str, axis: int) -> str:
        """Of all cells along an axis, in pixels."""
        count = g.add("Squeeze", g.shape(x, 2 + axis, 3 + axis))
        zero, one = g.whole(0), g.whole(1)
        places = g.add("Add", g.add("Cast", g.add("Range", zero, count, one), to=1), g.values(site.p.offset))
        return g.add("Mul", places, g.add("Gather", step, g.ints(axis)))


def pair(values: tuple[float, float]) -> str:
    return f"({number(values[0])}, {number(values[1])})"


@form("DetectionOutput")
class DetectionOutput(Form):
    """Boxes are chosen class by class, the best of them image by image: in ONNX, NonMaxSuppression and ranks."""

    traced = False
    counted = 2

    def check(self, site: Site) -> None:
        if site.p.nms_param.eta < 1:
            raise NotExported(f"nms_param.eta {number(site.p.nms_param.eta)}")

    def labels(self, site: Site) -> list[int]:
        return [n for n in range(site.p.num_classes) if n != site.p.background_label_id]

    def most(self, site: Site) -> int:
        """How many of a class's boxes are looked at; −1 stands for all."""
        nms = site.p.nms_param
        return nms.top_k if nms.HasField("top_k") else -1

    def code(self, site: Site) -> Code:
        self.check(site)
        p = site.p
        settings: dict[str, Any] = {"classes": p.num_classes, "background": p.background_label_id}
        settings |= {"code": f'"{schema.enum_name(p, "code_type")}"'}
        settings |= {"overlap": number(p.nms_param.nms_threshold)}
        settings |= {"threshold": number(p.confidence_threshold)} if p.HasField("confidence_threshold") else {}
        settings |= {"top_k": self.most(site)} if self.most(site) > -1 else {}
        settings |= {"keep": p.keep_top_k} if p.keep_top_k > -1 else {}
        settings |= {"encoded": True} if p.variance_encoded_in_target else {}
        text = call("detect", "{0}", "{1}", "{2}", **settings)
        return Code((text,), helpers=("box_corners", "suppress", "detect"))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        self.check(site)
        labels = self.labels(site)
        boxes, scores = self.candidates(site, g, x)
        near, far = g.several("Split", boxes, outputs=2, axis=-1)
        upright = g.add("Concat", near, g.add("Max", near, far), axis=-1)  # the operator would turn a box around
        found = g.add("NonMaxSuppression", upright, scores, *self.limits(site, g, scores))
        place = g.add("Gather", found, g.ints(0, 2), axis=1)
        score = g.add("GatherND", scores, found)
        group = g.add("Squeeze", g.add("Gather", found, g.ints(0), axis=1), g.ints(1))
        count = g.ints(len(labels))
        image = g.add("Div", group, count)
        label = g.add("Gather", g.values(labels, "labels"), g.add("Mod", group, count))
        columns = [g.add("Unsqueeze", v, g.ints(1)) for v in (g.add("Cast", image, to=1), label, score)]
        rows = g.add("Concat", *columns, g.add("GatherND", boxes, place), axis=1)
        if site.p.keep_top_k > -1:
            rows = g.add("Compress", rows, self.best(g, image, score, site.p.keep_top_k), axis=0)
        return [g.add("Unsqueeze", self.or_none(g, rows, x[0]), g.ints(0, 1))]

    def candidates(self, site: Site, g: Nodes, x: list[str]) -> tuple[str, str]:
        """The best boxes of every class of every image, images · classes x k x 4, and their scores, ... x 1 x k."""
        classes = site.p.num_classes
        own = 1 if site.p.share_location else classes
        both = g.add("Reshape", g.add("Gather", x[2], g.whole(0), axis=0), g.ints(2, -1, 1, 4))
        prior, variance = (g.add("Gather", both, g.whole(i), axis=0) for i in (0, 1))
        moves = g.add("Reshape", x[0], g.ints(0, -1, own, 4))
        if not site.p.variance_encoded_in_target:
            moves = g.add("Mul", moves, variance)
        boxes = g.add("Transpose", self.decode(site, g, prior, moves), perm=[0, 2, 1, 3])
        scores = g.add("Transpose", g.add("Reshape", x[1], g.ints(0, -1, classes)), perm=[0, 2, 1])
        labels = g.ints(*self.labels(site))
        scores = g.add("Gather", scores, labels, axis=1)
        boxes = g.add("Gather", boxes, labels if own > 1 else g.ints(*[0] * len(self.labels(site))), axis=1)
        count = g.shape(scores, 2, 3)
        count = count if self.most(site) < 0 else g.add("Min", count, g.ints(self.most(site)))
        scores, places = g.several("TopK", scores, count, outputs=2, axis=2)
        boxes = g.add("GatherND", boxes, g.add("Unsqueeze", places, g.ints(3)), batch_dims=2)
        flat = g.add("Reshape", boxes, g.join(g.ints(-1), count, g.ints(4)))
        return flat, g.add("Reshape", scores, g.join(g.ints(-1, 1), count))

    def decode(self, site: Site, g: Nodes, prior: str, moves: str) -> str:
        """The boxes that moves make of prior boxes."""
        code = schema.enum_name(site.p, "code_type")
        if code == "CORNER":
            return g.add("Add", prior, moves)
        near, far = g.several("Split", prior, outputs=2, axis=-1)
        size = g.add("Sub", far, near)
        if code == "CORNER_SIZE":
            return g.add("Add", prior, g.add("Mul", moves, g.add("Concat", size, size, axis=-1)))
        shift, growth = g.several("Split", moves, outputs=2, axis=-1)
        middle = g.add("Mul", g.add("Add", near, far), g.values(0.5))
        centre = g.add("Add", g.add("Mul", shift, size), middle)
        half = g.add("Mul", g.add("Mul", g.add("Exp", growth), size), g.values(0.5))
        return g.add("Concat", g.add("Sub", centre, half), g.add("Add", centre, half), axis=-1)

    def limits(self, site: Site, g: Nodes, scores: str) -> list[str]:
        """Greatest number of boxes per class, overlap, and where it is set least confidence."""
        settings = [g.shape(scores, 2, 3), g.values([site.p.nms_param.nms_threshold])]
        if site.p.HasField("confidence_threshold"):
            settings.append(g.values([site.p.confidence_threshold]))
        return settings

    def best(self, g: Nodes, image: str, score: str, most: int) -> str:
        """Which rows are among the best of their image; of equal ones, the first."""
        zero, one = g.whole(0), g.whole(1)
        place = g.add("Range", zero, g.add("Squeeze", g.shape(score, 0)), one)
        (s, s_other), (i, i_other), (p, p_other) = (
            [g.add("Unsqueeze", v, g.ints(axis)) for axis in (1, 0)] for v in (score, image, place)
        )
        tied = g.add("And", g.add("Equal", s_other, s), g.add("Less", p_other, p))
        better = g.add("Or", g.add("Greater", s_other, s), tied)
        beaten = g.add("Cast", g.add("And", better, g.add("Equal", i_other, i)), to=6)
        rank = g.add("ReduceSum", beaten, g.ints(1), keepdims=0)
        return g.add("Less", rank, g.constant(np.array(most, np.int32), "int"))

    def or_none(self, g: Nodes, rows: str, images: str) -> str:
        """The rows, or where there are none one row (image, -1, ..., -1) per image."""
        zero, one = g.whole(0), g.whole(1)
        count = g.shape(images, 0, 1)
        number = g.add("Cast", g.add("Range", zero, g.add("Squeeze", count), one), to=1)
        blanks = g.add("Expand", g.values([[-1.0] * (COLUMNS - 1)]), g.join(count, g.ints(1)))
        nothing = g.add("Concat", g.add("Unsqueeze", number, g.ints(1)), blanks, axis=1)
        empty = g.add("Expand", g.add("Equal", g.shape(rows, 0, 1), g.ints(0)), count)
        return g.add("Concat", rows, g.add("Compress", nothing, empty, axis=0), axis=0)


@form("ROIPooling")
class ROIPooling(Form):
    traced = False

    def code(self, site: Site) -> Code:
        size = tuple(site.layer.grid)
        return Code((f"roi_pool({{0}}, {{1}}, {size}, {number(site.p.spatial_scale)})",), helpers=("cells", "roi_pool"))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        rois = x[1] if len(site.bottoms[1]) == 2 else g.add("Reshape", x[1], g.ints(-1, 5))
        return [g.add("MaxRoiPool", x[0], rois, pooled_shape=list(site.layer.grid), spatial_scale=site.p.spatial_scale)]

    def sample(self, site: Site, bottom: int, rng: np.random.Generator, shape: Shape) -> np.ndarray | None:
        """Regions of the first image, most of them inside it."""
        if bottom != 1:
            return None
        height, width = (n / site.p.spatial_scale for n in site.bottoms[0][2:])
        first = rng.uniform(-0.1, 0.8, (shape[0], 2)) * (width, height)
        size = rng.uniform(0, 0.6, (shape[0], 2)) * (width, height)
        rows = np.concatenate([np.zeros((shape[0], 1)), first, first + size], 1)
        return rows.reshape(shape).astype(np.float32)
