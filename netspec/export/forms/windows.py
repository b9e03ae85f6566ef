"""Forms of layers that slide a window, and of those that make planes larger or cut them."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.export.forms import Arg, Code, Form, Member, NotExported, Site, call, form, number, one
from netspec.export.nodes import Nodes
from netspec.layers.pooling import FLT_MAX

LOWEST = f"{-FLT_MAX}".replace("e+", "e")


@form("Convolution", "ConvolutionDepthwise", "DepthwiseConvolution", "Deconvolution")
class Convolution(Form):
    def window(self, site: Site) -> Any:
        axis, window = site.layer.window(site.bottoms[0])
        if axis != 1 or not 1 <= len(window.kernel) <= 3:
            raise NotExported(f"axis {site.p.axis} of a bottom of {site.rank} axes")
        return window

    def code(self, site: Site) -> Code:
        window, weight = self.window(site), site.params[0]
        channels, transposed = site.bottoms[0][1], site.layer.transposed
        group = channels // weight.shape[1] if not transposed else site.tops[0][1] // weight.shape[1]
        args = (
            Arg("in_channels", channels),
            Arg("out_channels", site.tops[0][1]),
            Arg("kernel_size", one(window.kernel)),
            Arg("stride", one(window.stride), 1),
            Arg("padding", one(window.pad), 0),
            Arg("dilation", one(window.dilation), 1),
            Arg("groups", group, 1),
            Arg("bias", len(site.params) > 1, True),
        )
        state: dict[str, np.ndarray] = dict(zip(("weight", "bias"), site.params, strict=False))
        name = f"nn.Conv{'Transpose' if transposed else ''}{len(window.kernel)}d"
        exprs = tuple(f"{{m0}}({{{i}}})" for i in range(len(site.bottoms)))
        return Code(exprs, (Member(name, args, state),))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        window, transposed = self.window(site), site.layer.transposed
        params = [g.values(v, n) for v, n in zip(site.params, ("weight", "bias"), strict=False)]
        channels = site.tops[0][1] if transposed else site.bottoms[0][1]
        settings = {
            "kernel_shape": list(window.kernel),
            "strides": list(window.stride),
            "pads": [*window.pad, *window.pad],
            "dilations": list(window.dilation),
            "group": channels // site.params[0].shape[1],
        }
        return [g.add("ConvTranspose" if transposed else "Conv", v, *params, **settings) for v in x]


def beyond(site: Site, window: Any) -> tuple[int, ...]:
    """Padding at the far end that makes floor(...) + 1 windows those that Caffe takes.

    Rounding up is s − 1 more cells; a last window that would start beyond size + pad is not taken when there is
    padding, so no more than kernel − 1 cells ever count.
    """
    up = 0 if site.layer.floor else 1
    ends = [p + up * (s - 1) for p, s in zip(window.pad, window.stride, strict=True)]
    if not any(window.pad):
        return tuple(ends)
    return tuple(min(e, k - 1) for e, k in zip(ends, window.kernel, strict=True))


@form("Pooling")
class Pooling(Form):
    def code(self, site: Site) -> Code:
        method, mask = site.layer.method, len(site.tops) > 1
        if site.layer.kernel is None:
            if mask or method == "STOCHASTIC":
                raise NotExported(f"global pool {method} with {len(site.tops)} tops")
            return Code(("F.adaptive_avg_pool2d({0}, 1)" if method == "AVE" else "F.adaptive_max_pool2d({0}, 1)",))
        window = site.layer.window(site.bottoms[0])
        over, rows = beyond(site, window), list(zip(window.kernel, window.stride, window.pad, strict=True))
        function = self.function(method)
        args = ["{0}", str(one(window.kernel)), str(one(window.stride))]
        if all(2 * p <= k and (s <= k or site.layer.floor) for k, s, p in rows):
            settings: dict[str, Any] = {"padding": one(window.pad)} if any(window.pad) else {}
            settings |= {"ceil_mode": True} if over != window.pad else {}
            settings |= {"return_indices": True} if mask else {}
            return Code((call(function, *args, **settings),), joint=mask)
        if method == "AVE" or mask:
            raise NotExported(f"kernel {window.kernel} with stride {window.stride} and pad {window.pad}")
        edges = (window.pad[1], over[1], window.pad[0], over[0])
        args[0] = call("F.pad", "{0}", str(edges), value=LOWEST)
        return Code((call(function, *args),))

    def function(self, method: str) -> str:
        if method == "STOCHASTIC":
            raise NotExported("pool STOCHASTIC")
        return "F.max_pool2d" if method == "MAX" else "F.avg_pool2d"

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        method, mask = site.layer.method, len(site.tops) > 1
        self.function(method)
        if site.layer.kernel is None:
            if mask:
                raise NotExported("global pool MAX with 2 tops")
            return [g.add("GlobalAveragePool" if method == "AVE" else "GlobalMaxPool", x[0])]
        window = site.layer.window(site.bottoms[0])
        over = beyond(site, window)
        settings = {"kernel_shape": list(window.kernel), "strides": list(window.stride)}
        if any(e >= k for e, k in zip(over, window.kernel, strict=True)):
            return self.apart(site, g, x[0], settings, over)
        if method == "AVE":
            return [self.average(g, x[0], settings, window.pad, over)]
        pooled = g.several("MaxPool", x[0], outputs=1 + mask, pads=[*window.pad, *over], **settings)
        return [pooled[0], self.plane_index(g, x[0], pooled[1])] if mask else pooled

    def average(self, g: Nodes, x: str, settings: dict[str, Any], pad: Any, over: Any) -> str:
        """Padding counts in the divisor, what lies beyond it does not."""
        if tuple(pad) == tuple(over):
            return g.add("AveragePool", x, count_include_pad=1, pads=[*pad, *pad], **settings)
        y = g.add("Pad", x, g.ints(0, 0, *pad, 0, 0, *pad)) if any(pad) else x
        rest = [e - p for e, p in zip(over, pad, strict=True)]
        return g.add("AveragePool", y, pads=[0, 0, *rest], **settings)

    def apart(self, site: Site, g: Nodes, x: str, settings: dict[str, Any], over: tuple[int, ...]) -> list[str]:
        """Windows that may have no cell at all: padded by hand, for operators refuse so much padding."""
        if site.layer.method == "AVE" or len(site.tops) > 1:
            raise NotExported(f"kernel {settings['kernel_shape']} with stride {settings['strides']}")
        pads = g.ints(0, 0, *site.layer.pad, 0, 0, *over)
        return [g.add("MaxPool", g.add("Pad", x, pads, g.values(-FLT_MAX)), **settings)]

    def plane_index(self, g: Nodes, x: str, index: str) -> str:
        """ONNX counts through the whole blob, Caffe within a plane, as a number."""
        cells = g.add("ReduceProd", g.shape(x, 2), keepdims=1)
        return g.add("Cast", g.add("Mod", index, cells), to=1)


@form("SPP")
class SPP(Form):
    """A pyramid of windows that fit the plane, which has one size."""

    def levels(self, site: Site) -> list[tuple[Any, tuple[int, ...]]]:
        """The window of every level, and the padding at the far end that makes windows fill the plane."""
        if not site.fixed(0, slice(2, None)):
            raise NotExported("windows for inputs of any size; give the net one size (--fixed-size)")
        if site.layer.method == "STOCHASTIC":
            raise NotExported("pool STOCHASTIC")
        size, found = site.bottoms[0][2:], []
        for level, w in enumerate(site.layer.levels(size)):
            found.append((w, tuple(k * 2**level - n - p for k, n, p in zip(w.kernel, size, w.pad, strict=True))))
        return found

    def code(self, site: Site) -> Code:
        name, parts = ("mean_windows" if site.layer.method == "AVE" else "max_windows"), []
        for window, over in self.levels(site):
            edges = (window.pad[1], over[1], window.pad[0], over[0])
            parts.append(call(name, "{0}", str(one(window.kernel)), str(edges)))
        if len(parts) == 1:
            return Code((parts[0],), helpers=(name,))
        return Code((f"torch.cat([{', '.join(f'{p}.flatten(1)' for p in parts)}], 1)",), helpers=(name,))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        op, parts = ("AveragePool" if site.layer.method == "AVE" else "MaxPool"), []
        for window, over in self.levels(site):
            settings: dict[str, Any] = {"kernel_shape": list(window.kernel), "strides": list(window.stride)}
            settings |= {"count_include_pad": 1} if op == "AveragePool" else {}
            parts.append(g.add(op, x[0], pads=[*window.pad, *over], **settings))
        if len(parts) == 1:
            return parts
        return [g.add("Concat", *(g.add("Flatten", p, axis=1) for p in parts), axis=1)]


@form("Im2col")
class Im2col(Form):
    def window(self, site: Site) -> Any:
        axis, window = site.layer.window(site.bottoms[0])
        if axis != 1 or site.rank != 4:
            raise NotExported(f"axis {axis} of a bottom of {site.rank} axes")
        return window

    def code(self, site: Site) -> Code:
        window = self.window(site)
        fields = {"dilation": window.dilation, "padding": window.pad, "stride": window.stride}
        settings = {k: one(v) for k, v in fields.items() if set(v) != {0 if k == "padding" else 1}}
        rows = call("F.unfold", "{0}", str(one(window.kernel)), **settings)
        extent, pad, stride = window.extent()[0], window.pad[0], window.stride[0]
        height = f"{{0}}.shape[2] - {extent - 2 * pad}".replace("- -", "+ ").removesuffix(" - 0")
        height = f"{height} + 1" if stride == 1 else f"({height}) // {stride} + 1"
        return Code((f"{rows}.unflatten(2, ({height}, -1))",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        """A convolution whose kernels each pick one cell."""
        window, channels = self.window(site), site.bottoms[0][1]
        taps = int(np.prod(window.kernel))
        weight = np.tile(np.eye(taps, dtype=np.float32).reshape(taps, 1, *window.kernel), (channels, 1, 1, 1))
        settings = {"strides": list(window.stride), "pads": [*window.pad, *window.pad], "group": channels}
        settings |= {"kernel_shape": list(window.kernel), "dilations": list(window.dilation)}
        return [g.add("Conv", x[0], g.values(weight, "weight"), **settings)]


@form("LRN")
class LRN(Form):
    def code(self, site: Site) -> Code:
        p, size = site.p, site.layer.size
        if site.layer.within:
            mean = f"F.avg_pool2d({{0}} * {{0}}, {size}, 1, {size // 2})"
            return Code((f"{{0}} * (1 + {number(p.alpha)} * {mean}) ** {number(-p.beta)}",))
        settings = {"alpha": number(p.alpha), "beta": number(p.beta)}
        settings |= {} if p.k == 1 else {"k": number(p.k)}
        return Code((call("F.local_response_norm", "{0}", str(size), **settings),))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        p, size = site.p, site.layer.size
        if not site.layer.within:
            return [g.add("LRN", x[0], size=size, alpha=p.alpha, beta=p.beta, bias=p.k)]
        pads = [size // 2] * 4
        square = g.add("Mul", x[0], x[0])
        mean = g.add("AveragePool", square, kernel_shape=[size] * 2, strides=[1, 1], pads=pads, count_include_pad=1)
        scale = g.add("Add", g.add("Mul", mean, g.values(p.alpha)), g.values(1.0))
        return [g.add("Mul", x[0], g.add("Pow", scale, g.values(-p.beta)))]


@form("Crop")
class Crop(Form):
    def code(self, site: Site) -> Code:
        axis = site.p.axis % site.rank
        offsets = site.layer.offsets(site.rank - axis)
        if axis == 2 and site.rank == 4:
            return Code((f"crop({{0}}, {{1}}, {offsets[0]}, {offsets[1]})",), helpers=("crop",))
        text = "{0}"
        for i, offset in enumerate(offsets, axis):
            text += f".narrow({i}, {offset}, {{1}}.shape[{i}])"
        return Code((text,))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        axis = site.p.axis % site.rank
        offsets = site.layer.offsets(site.rank - axis)
        starts, size = g.ints(*offsets), g.shape(x[1], axis, site.rank)
        ends = g.add("Add", size, starts) if any(offsets) else size
        return [g.add("Slice", x[0], starts, ends, g.ints(*range(axis, site.rank)))]


@form("CropCenter")
class CropCenter(Form):
    def code(self, site: Site) -> Code:
        cuts = [f"{c}:-{c}" if c else ":" for c in site.p.crop_size]
        return Code((f"{{0}}[{', '.join(cuts)}]",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        crop = list(site.p.crop_size)
        ends = [-c if c else np.iinfo(np.int64).max for c in crop]
        return [g.add("Slice", x[0], g.ints(*crop), g.ints(*ends), g.ints(*range(len(crop))))]


@form("Interp")
class Interp(Form):
    def code(self, site: Site) -> Code:
        p = site.p
        cut = slices(-p.pad_beg, -p.pad_end)
        x = f"{{0}}{cut}"
        if len(site.bottoms) == 2:
            return Code((self.resize(x, "{1}.shape[2:]"),))
        if not site.layer.factors:
            return Code((self.resize(x, f"({p.height}, {p.width})"),))
        if site.fixed(0):
            return Code((self.resize(x, str(site.tops[0][2:])),))
        if p.pad_beg or p.pad_end or (p.HasField("zoom_factor") and p.HasField("shrink_factor")):
            raise NotExported("shrink_factor and zoom_factor with padding, of an input of any size")
        if p.HasField("zoom_factor"):
            return Code((f"zoom({{0}}, {p.zoom_factor})",), helpers=("zoom",))
        return Code((f"shrink({{0}}, {p.shrink_factor})",), helpers=("shrink",))

    def resize(self, x: str, size: str) -> str:
        return call("F.interpolate", x, size, mode="'bilinear'".replace("'", '"'), align_corners=True)

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        p, y = site.p, x[0]
        if p.pad_beg or p.pad_end:
            ends = [p.pad_end if p.pad_end else np.iinfo(np.int64).max] * 2
            y = g.add("Slice", y, g.ints(-p.pad_beg, -p.pad_beg), g.ints(*ends), g.ints(2, 3))
        size = g.shape(x[1], 2, 4) if len(site.bottoms) == 2 else self.size(site, g, y)
        sizes = g.join(g.shape(y, 0, 2), size)
        return [g.add("Resize", y, "", "", sizes, mode="linear", coordinate_transformation_mode="align_corners")]

    def size(self, site: Site, g: Nodes, x: str) -> str:
        p = site.p
        both = p.HasField("zoom_factor") and p.HasField("shrink_factor")
        if site.fixed(0) or not site.layer.factors or (both and p.height):
            return g.ints(*site.tops[0][2:])
        n = g.add("Sub", g.shape(x, 2, 4), g.ints(1))
        n = g.add("Div", n, g.ints(p.shrink_factor))
        return g.add("Add", g.add("Mul", n, g.ints(p.zoom_factor)), g.ints(1))


def slices(begin: int, end: int) -> str:
    """What is left of both spatial axes, as an index."""
    if not begin and not end:
        return ""
    part = f"{begin or ''}:{-end or ''}"
    return f"[:, :, {part}, {part}]"


@form("Upsample")
class Upsample(Form):
    def code(self, site: Site) -> Code:
        layer = site.layer
        if len(site.bottoms) == 1:
            return Code((call("F.interpolate", "{0}", scale_factor=one(layer.scale)),))
        size = [str(n) for n in layer.fixed] if layer.fixed else [larger(i, layer) for i in range(2)]
        return Code((f"put_back({{0}}, {{1}}, {size[0]}, {size[1]})",), helpers=("put_back",))

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        layer = site.layer
        if len(site.bottoms) == 1:
            scales = g.values([1, 1, *layer.scale], "scales")
            repeat = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            return [g.add("Resize", x[0], "", scales, outputs=1, mode="nearest", **repeat)]
        if layer.fixed:
            size = g.ints(*layer.fixed)
        else:
            size = g.add("Sub", g.add("Mul", g.shape(x[0], 2, 4), g.ints(*layer.scale)), g.ints(*layer.less))
        return [put_back(g, x[0], x[1], size)]


def larger(axis: int, layer: Any) -> str:
    less = f" - {layer.less[axis]}" if layer.less[axis] else ""
    return f"{layer.scale[axis]} * {{0}}.shape[{axis + 2}]{less}"


def put_back(g: Nodes, x: str, mask: str, size: str) -> str:
    """Values at the places of their planes that a mask names, zeros elsewhere."""
    lead = g.shape(x, 0, 2)
    cells = g.add("ReduceProd", size, keepdims=1)
    flat = g.join(lead, g.ints(-1))
    empty = g.add("ConstantOfShape", g.join(lead, cells))
    index = g.add("Cast", g.add("Reshape", mask, flat), to=7)
    filled = g.add("ScatterElements", empty, index, g.add("Reshape", x, flat), axis=2)
    return g.add("Reshape", filled, g.join(lead, size))


@form("Unpooling")
class Unpooling(Form):
    def code(self, site: Site) -> Code:
        self.check(site)
        rows = zip(site.layer.window.stride, site.layer.window.kernel, strict=True)
        size = [self.side(site, i, s, k) for i, (s, k) in enumerate(rows)]
        return Code((f"put_back({{0}}, {{1}}, {size[0]}, {size[1]})",), helpers=("put_back",))

    def check(self, site: Site) -> None:
        if site.layer.method != "MAX" or len(site.bottoms) == 1:
            raise NotExported(f"unpool {site.layer.method} of {len(site.bottoms)} bottoms")

    def side(self, site: Site, axis: int, stride: int, kernel: int) -> str:
        """max((n − 1) stride + kernel, n stride + 1) of the axis, or the size given."""
        if site.layer.fixed:
            return str(site.layer.fixed[axis])
        more = max(kernel - stride, 1)
        return f"{stride} * {{0}}.shape[{axis + 2}] + {more}"

    def nodes(self, site: Site, g: Nodes, x: list[str]) -> list[str]:
        self.check(site)
        window = site.layer.window
        if site.layer.fixed:
            size = g.ints(*site.layer.fixed)
        else:
            more = [max(k - s, 1) for s, k in zip(window.stride, window.kernel, strict=True)]
            size = g.add("Add", g.add("Mul", g.shape(x[0], 2, 4), g.ints(*window.stride)), g.ints(*more))
        return [put_back(g, x[0], x[1], size)]
