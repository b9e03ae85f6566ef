"""Input: blobs that the caller fills."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.base import Layer, Shape


class Input(Layer):
    """Each top takes its `shape` (one shape stands for all tops); values come from the caller.

    Shapes: as given. The caller may bring any other shape later; layers are checked against it then.
    Errors: a number of shapes that is neither 1 nor the number of tops.
    Source: Caffe's Input.
    """

    settings = "input_param"
    bottoms = (0, 0)
    tops = (1, None)

    def setup(self) -> None:
        shapes, tops = len(self.p.shape), len(self.proto.top)
        if shapes not in (0, 1, tops):
            raise self.fail(f"{shapes} shapes for {tops} tops; give one, or one per top", "shape")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shapes = [tuple(s.dim) for s in self.p.shape]
        if not shapes:
            return [()] * len(self.proto.top)
        return shapes * len(self.proto.top) if len(shapes) == 1 else shapes
