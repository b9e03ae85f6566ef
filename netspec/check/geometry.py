"""Rules on sizes and places: crops that do not align, poolings that drop rows."""

from __future__ import annotations

from collections.abc import Iterator

from netspec.check import View, rule
from netspec.check.subject import Edit, Finding, name
from netspec.errors import SpecError
from netspec.passes.coord_maps import crop_offset


@rule("NS006", "crop offset does not align", View)
def crop(view: View) -> Iterator[Finding]:
    """A Crop's offset does not bring its two bottoms to the same place in the image.

    Both bottoms come from one image. Along each way strides, kernels and padding shift and scale positions; the
    difference is the only offset at which a cell of the one lies over its cell of the other. Any other offset shifts
    scores against labels or streams against each other, which costs accuracy and is easily overlooked.

    Put right: the offset that the message names.
    """
    for n, spec in view.find("Crop"):
        p = spec.proto.crop_param
        bottom, reference = view.bound.graph.layers[n].bottoms[:2]
        try:
            right = crop_offset(view.bound, bottom, reference, p.axis)
        except SpecError:
            continue
        given = list(p.offset) or [0]
        if len(set(given)) == 1:
            given = given[:1]
        if given != right:
            words = [" ".join(map(str, side)) for side in (given, right)]
            edit = None
            if len(p.offset) == len(right) == 1:
                edit = Edit(spec.loc("crop_param.offset"), r"offset\s*:\s*\d+", f"offset: {right[0]}")
            message = f"{name(spec)}: offset {words[0]} does not align '{bottom}' with '{reference}', {words[1]} does"
            yield Finding(message, spec.loc("crop_param.offset"), edit)


@rule("NS016", "a pooling drops the last row", View)
def dropped_rows(view: View) -> Iterator[Finding]:
    """The windows of a pooling end before its bottom does: the last rows or columns count for nothing.

    Sizes usually round up, so that the last window reaches over the edge; with round_mode FLOOR, or a stride larger
    than the kernel, rows may be left over. Said only where the net gives its input's size.

    Put right: another input size, pad, or kernel.
    """
    if view.assumed:
        return
    for n, spec in view.find("Pooling"):
        p, bound = spec.proto.pooling_param, view.bound.graph.layers[n]
        if p.global_pooling or bound.tops[0] not in view.shapes:
            continue
        bottom, top = view.shapes[bound.bottoms[0]], view.shapes[bound.tops[0]]
        for axis, side in enumerate("hw"):
            kernel, stride, pad = (
                getattr(p, f"{f}_{side}") if p.HasField(f"{f}_{side}") else getattr(p, whole)
                for f, whole in (("kernel", "kernel_size"), ("stride", "stride"), ("pad", "pad"))
            )
            last = min(top[2 + axis] - 1, (bottom[2 + axis] - 1 + pad) // stride)
            left = bottom[2 + axis] + pad - (last * stride + kernel)
            if left > 0:
                what = "rows" if side == "h" else "columns"
                where = f"the last {left} of {bottom[2 + axis]} {what} of '{spec.bottoms[0]}'"
                yield Finding(f"{name(spec)}: {where} are in no window", spec.loc("pooling_param"))
                break
