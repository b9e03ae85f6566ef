"""What ImageSegData and DenseImageData share: lists of images and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netspec.errors import LayerError
from netspec.layers.data import skipped
from netspec.layers.prefetching import IS_COLOR, PrefetchingLayer

if TYPE_CHECKING:
    from netspec.data.pairs import Pair, Recipe
    from netspec.data.paths import Places

AHEAD = 4


class SegmentationData(PrefetchingLayer, abstract=True):
    """Batches of the images and labels that the list `source` names, in its order or shuffled anew in every pass."""

    idle = IS_COLOR
    words = 2
    """How many words of a line count."""

    def setup(self) -> None:
        super().setup()
        self.both("new_height", "new_width")
        if self.proto.transform_param.mean_file:
            raise LayerError("mean_file is not supported; give mean_value", field="transform_param.mean_file")

    def both(self, first: str, second: str) -> tuple[int, int]:
        """Two sizes of the settings; one without the other is refused."""
        values = (getattr(self.p, first), getattr(self.p, second))
        if bool(values[0]) != bool(values[1]):
            given, missing = (first, second) if values[0] else (second, first)
            raise self.fail(f"{given} is given without {missing}; give both or none", given)
        return values

    def recipe(self) -> Recipe:
        """How an image and its label are prepared."""
        raise NotImplementedError

    def loader(self, lines: list[tuple[str, ...]], places: Places, recipe: Recipe) -> Pairs:
        """What loads an item of the list."""
        raise NotImplementedError

    def open(self) -> Any:
        from functools import partial

        from netspec.data.batches import Batches, in_order, open_stream
        from netspec.data.pairs import read_pairs, stack

        self.check_fields()
        places, seed = self.places(), self.seed()
        lines = read_pairs(self.find_source(places, "image list"), self.words)
        order = in_order(len(lines), seed, shuffle=self.p.shuffle, skip=skipped(self.p.rand_skip, seed), **self.share())
        load = self.loader(lines, places, self.recipe())
        with self.blame("source"):
            batches = Batches(order, self.p.batch_size, seed)
            return open_stream(batches, partial(stack, load, len(self.proto.top)), AHEAD)


class Pairs:
    """`load(number of the line, key of the draw)`: one image and its label, prepared."""

    def __init__(
        self,
        lines: list[tuple[str, ...]],
        places: Places,
        recipe: Recipe,
        color: bool,
        roots: tuple[str, str],
        label: int | str | None = None,
    ) -> None:
        """`label`: what all places are labelled with: a number, "line" for the line's second word, None for a file."""
        self.lines, self.places, self.recipe = lines, places, recipe
        self.color, self.roots, self.label = color, roots, label

    def __call__(self, number: int, draw: str) -> Pair:
        from netspec.data.images import decode

        line = self.lines[number]
        path = self.places.file(self.roots[0] + line[0], "image")
        pixels = decode(path, self.color, path)
        return self.recipe(pixels, self.labels(line, pixels.shape[:2]), draw, str(path))

    def labels(self, line: tuple[str, ...], size: tuple[int, ...]) -> Any:
        """H x W labels of a line."""
        import numpy as np

        from netspec.data.pixels import read_indexed_label

        if self.label is None:
            return read_indexed_label(self.places.file(self.roots[1] + line[1], "label"))[0, 0]
        value = line[1] if self.label == "line" else self.label
        try:
            return np.full(size, int(value), np.int32)
        except (ValueError, OverflowError):
            raise LayerError(f"label '{value}' of image '{line[0]}' is no integer of 32 bits") from None
