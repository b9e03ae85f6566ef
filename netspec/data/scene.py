"""Pictures of the embedded sample: things of six classes standing on a ground, drawn by numbers alone.

Only + - * / and comparisons of float64 and a generator whose stream is frozen (numpy's RandomState) take part, so a
seed gives the same bytes on every machine. Everything is drawn at twice the size and averaged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from netspec.data.classes import VOC_CLASSES, VOID

Random = np.random.RandomState

THINGS = tuple(VOC_CLASSES.index(n) for n in ("bird", "bus", "cow", "person", "pottedplant", "tvmonitor"))
GROUNDS = ((176, 160, 128), (128, 134, 104), (122, 122, 126), (150, 132, 118))
BORDER = 2  # pixels of void on either side of a thing's outline


class Scene(NamedTuple):
    """H x W x 3 and H x W uint8; `stands` is the row where a pixel's thing meets the ground."""

    image: np.ndarray
    label: np.ndarray
    stands: np.ndarray
    horizon: int


def draw_scene(rng: Random, things: tuple[int, ...]) -> Scene:
    """One picture of about 160 x 128 with the given classes, the nearer in front of the farther."""
    height, width = 2 * _whole(rng, 56, 72), 2 * _whole(rng, 72, 88)
    horizon = height * _whole(rng, 25, 44) // 100
    canvas = _Canvas(rng, 2 * height, 2 * width, 2 * horizon)
    slots = (permutation(rng, len(things)) + 0.5) / len(things)
    feet = np.sort(rng.random_sample(len(things))) * 0.26 + 0.72
    for slot, foot, thing in zip(slots, feet, things, strict=True):
        across = slot + (rng.random_sample() - 0.5) * 0.1
        canvas.put(thing, 2 * width * across, 2 * height * foot, 2 * _whole(rng, 30, 39))
    label = canvas.label[::2, ::2].copy()
    label[_outlines(label)] = VOID
    return Scene(_exposed(rng, canvas.colour), label, (canvas.stands[::2, ::2] // 2).astype(np.int32), horizon)


def permutation(rng: Random, n: int) -> np.ndarray:
    """0..n-1 in random order."""
    return np.argsort(rng.random_sample(n), kind="stable")


def _whole(rng: Random, low: int, high: int) -> int:
    return low + int(rng.random_sample() * (high - low + 1))


class _Canvas:
    """The picture in the making, in double size: colour (0..255, float64), label and stands."""

    def __init__(self, rng: Random, height: int, width: int, horizon: int) -> None:
        self.rng = rng
        rows = np.arange(height)[:, None] + np.zeros((1, width), dtype=np.int64)
        self.label = np.zeros((height, width), dtype=np.uint8)
        self.stands = np.maximum(rows, horizon)
        sky = _mixed((150, 170, 186), (206, 212, 214), rows / height * 0.9 + _noise(rng, rows.shape, 60) * 0.4)
        tone = np.array(GROUNDS[_whole(rng, 0, len(GROUNDS) - 1)], dtype=np.float64)
        grain = 0.55 * _noise(rng, rows.shape, 26) + 0.45 * _noise(rng, rows.shape, 5)
        ground = tone * (0.78 + 0.32 * grain + 0.12 * rows / height)[:, :, None]
        self.colour = np.where((rows >= horizon)[:, :, None], ground, sky)

    def put(self, thing: int, across: float, foot: float, half: int) -> None:
        """Draws a thing whose box is 2 half wide and high, its foot in the row `foot`, with its shadow."""
        shape, paint = LOOKS[thing]
        rows, columns = np.ogrid[: self.label.shape[0], : self.label.shape[1]]
        lean = (self.rng.random_sample() - 0.5) * 0.3
        stretch = 0.9 + 0.2 * self.rng.random_sample()
        v = (rows - (foot - half)) / half + 0 * columns
        u = (columns - across) / (half * stretch) + lean * v
        self._shade(u, v)
        mask = shape(u, v)
        gain = 0.86 + 0.28 * self.rng.random_sample() - 0.1 * (u + v)
        painted = paint(self.rng, u, v) * gain[:, :, None]
        self.colour = np.where(mask[:, :, None], painted, self.colour)
        self.label[mask] = thing
        self.stands[mask] = int(foot)

    def _shade(self, u: np.ndarray, v: np.ndarray) -> None:
        far = _square(u - 0.1) / 1.3 + _square((v - 0.95) / 0.22)
        self.colour *= np.clip(0.6 + 0.4 * far, 0.6, 1)[:, :, None]


def _square(a: np.ndarray) -> np.ndarray:
    return a * a


def _disc(u: np.ndarray, v: np.ndarray, at: tuple[float, float], radius: float) -> np.ndarray:
    return _square(u - at[0]) + _square(v - at[1]) < radius * radius


def _box(u: np.ndarray, v: np.ndarray, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """A rectangle with rounded corners: a superellipse of degree 8."""
    a = _square(_square(2 * (u - left) / (right - left) - 1))
    b = _square(_square(2 * (v - top) / (bottom - top) - 1))
    return a * a + b * b < 1


def _mixed(a: tuple[int, int, int], b: tuple[int, int, int], share: np.ndarray) -> np.ndarray:
    """a where share is 0, b where it is 1; share is clipped."""
    part = np.clip(share, 0, 1)[:, :, None]
    return np.array(a) * (1 - part) + np.array(b) * part


def _either(a: tuple[int, int, int], b: tuple[int, int, int], second: np.ndarray) -> np.ndarray:
    return np.where(second[:, :, None], np.array(b, dtype=np.float64), np.array(a, dtype=np.float64))


def _over(base: np.ndarray, colour: tuple[int, int, int], mask: np.ndarray) -> np.ndarray:
    return np.where(mask[:, :, None], np.array(colour, dtype=np.float64), base)


def _noise(rng: Random, shape: tuple[int, ...], cell: int) -> np.ndarray:
    """Values 0..1 that change over `cell` pixels: random ones on a grid, interpolated between."""
    height, width = shape
    grid = rng.random_sample((height // cell + 2, width // cell + 2))
    y, x = np.arange(height), np.arange(width)
    fy, fx = (y % cell / cell)[:, None], (x % cell / cell)[None, :]
    top, left = (y // cell)[:, None], (x // cell)[None, :]
    upper = grid[top, left] * (1 - fx) + grid[top, left + 1] * fx
    lower = grid[top + 1, left] * (1 - fx) + grid[top + 1, left + 1] * fx
    return upper * (1 - fy) + lower * fy


# Shapes and paints take u to the right and v down, -1..1 within a thing's box.


def _bird(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    body = _square(u + 0.15) / 0.72 + _square(v - 0.35) / 0.42 < 1
    return body | _disc(u, v, (0.45, -0.38), 0.5)


def _paint_bird(rng: Random, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    plumage = _mixed((248, 208, 40), (226, 132, 20), _noise(rng, u.shape, 9) * 2.4 - 0.8)
    beaked = _over(plumage, (208, 92, 20), _disc(u, v, (0.9, -0.3), 0.13))
    return _over(beaked, (30, 26, 20), _disc(u, v, (0.55, -0.45), 0.1))


def _bus(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _box(u, v, -1, -0.75, 1, 0.88) | _disc(u, v, (-0.52, 0.76), 0.24) | _disc(u, v, (0.52, 0.76), 0.24)


def _paint_bus(rng: Random, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    panes = (v > -0.5) & (v < -0.02) & ((u * 2.5 + 20.25) % 1 > 0.22) & (abs(u) < 0.88)
    bodywork = _over(_either((204, 30, 34), (228, 66, 50), (v > 0.16) & (v < 0.3)), (244, 226, 222), panes)
    wheels = _disc(u, v, (-0.52, 0.76), 0.24) | _disc(u, v, (0.52, 0.76), 0.24)
    return _over(bodywork, (70, 22, 26), wheels)


def _cow(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    legs = _box(u, v, -0.92, 0, -0.18, 0.96) | _box(u, v, 0.06, 0, 0.8, 0.96)
    return _box(u, v, -1, -0.5, 0.85, 0.72) | legs | _disc(u, v, (0.62, -0.48), 0.44)


def _paint_cow(rng: Random, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    hide = _either((238, 236, 230), (34, 30, 32), _noise(rng, u.shape, 20) > 0.52)
    return _over(hide, (224, 150, 150), _disc(u, v, (0.8, -0.36), 0.2))


def _person(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    coat = (abs(u) < 0.5 + 0.22 * v) & (v > -0.35) & (v < 1)
    return coat | _disc(u, v, (0, -0.55), 0.45)


def _paint_person(rng: Random, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    checks = ((u * 3 + 30) % 1 > 0.5) ^ ((v * 3 + 30) % 1 > 0.5)
    coat = _either((132, 44, 158), (178, 84, 200), checks)
    faced = _over(coat, (226, 168, 150), _disc(u, v, (0, -0.52), 0.46))
    return _over(faced, (70, 34, 60), (v < -0.66) & (abs(u) < 0.5))


def _plant(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    leaves = _disc(u, v, (-0.45, -0.2), 0.5) | _disc(u, v, (0.45, -0.15), 0.5)
    return leaves | _disc(u, v, (0, -0.5), 0.5) | _disc(u, v, (0, 0.05), 0.45) | _pot(u, v)


def _pot(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (abs(u) < 0.58 - 0.16 * v) & (v > 0.3) & (v < 1)


def _paint_plant(rng: Random, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    leaves = _mixed((14, 92, 36), (70, 190, 60), _noise(rng, u.shape, 7) * 1.6 - 0.3)
    rim = (v < 0.48) & _pot(u, v)
    return _over(_over(leaves, (150, 84, 52), _pot(u, v)), (176, 106, 68), rim)


def _monitor(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _box(u, v, -1, -0.85, 1, 0.72) | ((abs(u) < 0.45) & (v > 0.5) & (v < 1))


def _paint_monitor(rng: Random, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    screen = _either((22, 66, 190), (50, 190, 236), (v * 4 + 40) % 1 > 0.55)
    frame = np.array((26, 30, 52), dtype=np.float64)
    return np.where(_box(u, v, -0.84, -0.7, 0.84, 0.54)[:, :, None], screen, frame)


_PAIRS = (
    (_bird, _paint_bird),
    (_bus, _paint_bus),
    (_cow, _paint_cow),
    (_person, _paint_person),
    (_plant, _paint_plant),
    (_monitor, _paint_monitor),
)
LOOKS: dict[int, tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]] = dict(zip(THINGS, _PAIRS, strict=True))


def _outlines(label: np.ndarray) -> np.ndarray:
    """Pixels with another label within BORDER rows and columns."""
    padded = np.pad(label, BORDER, mode="edge")
    height, width = label.shape
    shifts = [(dy, dx) for dy in range(2 * BORDER + 1) for dx in range(2 * BORDER + 1)]
    around = [padded[dy : dy + height, dx : dx + width] != label for dy, dx in shifts]
    return np.logical_or.reduce(around)


def _exposed(rng: Random, colour: np.ndarray) -> np.ndarray:
    """Averaged to the final size, in a light of its own strength and tint, with the grain of a sensor."""
    small = (colour[::2, ::2] + colour[1::2, ::2] + colour[::2, 1::2] + colour[1::2, 1::2]) / 4
    light = (0.8 + 0.36 * rng.random_sample()) * (0.95 + 0.1 * rng.random_sample(3))
    grain = (rng.random_sample(small.shape) - rng.random_sample(small.shape)) * 14
    return np.clip(np.rint(small * light + grain), 0, 255).astype(np.uint8)
