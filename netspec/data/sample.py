"""The embedded sample: pictures made from a seed, to train and score every published net without a download."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from netspec.data import nyud, pascalcontext, siftflow
from netspec.data.classes import (
    NYUD_CLASSES,
    PASCAL_CONTEXT_CLASSES,
    SIFTFLOW_CLASSES,
    SIFTFLOW_GEOMETRY,
    VOID,
)
from netspec.data.dataset import check_label
from netspec.data.palette import to_palette_png, write
from netspec.data.pixels import bgr_blob, blob, depth_blob, label_blob
from netspec.data.published import Params, Source, read_layer
from netspec.data.scene import THINGS, Random, Scene, draw_scene, permutation
from netspec.errors import SpecError

COUNTS = {"train": 96, "val": 24}
PER_SCENE = 3
NEAREST, FARTHEST = 1500, 10000  # millimetres, the depths of the lowest row and of the horizon

# What the things are called in the other data sets: first what stands behind them, then the ground.
ROOMS = ("wall", "floor", "lamp", "bookshelf", "pillow", "person", "otherprop", "television")
OUTDOORS = ("sky", "field", "bird", "bus", "cow", "person", "plant", "sign")
CONTEXTS = ("sky", "ground", "bird", "bus", "cow", "person", "pottedplant", "tvmonitor")


class Sample:
    """Two splits, train and val, of scenes with three things each; the same for one seed on every machine."""

    def __init__(self, seed: int = 0) -> None:
        if seed < 0:
            raise SpecError(f"the sample's seed is {seed}, it must not be negative")
        self.seed = seed
        self._scenes: dict[tuple[str, int], Scene] = {}

    def count(self, split: str) -> int:
        return COUNTS[split]

    def ids(self, split: str) -> list[str]:
        return [f"{split}_{i:04d}" for i in range(COUNTS[split])]

    def image(self, split: str, i: int) -> tuple[np.ndarray, np.ndarray]:
        """RGB H x W x 3 and label H x W of VOC's classes, uint8."""
        scene = self.scene(split, i)
        return scene.image, scene.label

    def scene(self, split: str, i: int) -> Scene:
        """Picture i of a split; the classes of 2 i and 2 i + 1 are all six, in random order."""
        if (split, i) not in self._scenes:
            order = permutation(self._random(split, COUNTS[split] + i // 2), len(THINGS))
            start = PER_SCENE * (i % 2)
            things = tuple(THINGS[k] for k in order[start : start + PER_SCENE])
            self._scenes[split, i] = draw_scene(self._random(split, i), things)
        return self._scenes[split, i]

    def write(self, folder: Path) -> None:
        """The sample as PASCAL VOC's folders; labels are exact, images are JPEGs of high quality."""
        lists, images, labels = (
            folder / part for part in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass")
        )
        for part in (lists, images, labels):
            part.mkdir(parents=True, exist_ok=True)
        for split in COUNTS:
            for i, name in enumerate(self.ids(split)):
                rgb, label = self.image(split, i)
                write(images / f"{name}.jpg", partial(Image.fromarray(rgb).save, format="JPEG", quality=95))
                to_palette_png(label, labels / f"{name}.png")
            text = "".join(f"{name}\n" for name in self.ids(split))
            write(lists / f"{split}.txt", lambda file, text=text: file.write(text.encode()))

    def _random(self, split: str, number: int) -> Random:
        words = [self.seed >> shift & 0xFFFFFFFF for shift in range(0, max(self.seed.bit_length(), 1), 32)]
        return Random([list(COUNTS).index(split), number, *words])


class SampleDataset:
    """A split of the sample with the tops of one of the published layers."""

    def __init__(self, sample: Sample, split: str, views: Mapping[str, View], classes: dict[str, int]) -> None:
        self.name, self.sample, self.split, self.views = "sample", sample, split, views
        self.ids = sample.ids(split)
        self.classes = {top: classes[top] for top in views if top in classes}

    def __len__(self) -> int:
        return len(self.ids)

    def load(self, i: int) -> dict[str, np.ndarray]:
        scene = self.sample.scene(self.split, i)
        arrays = {top: view(scene) for top, view in self.views.items()}
        for top, classes in self.classes.items():
            check_label(arrays[top], classes, f"{self.ids[i]} of the sample")
        return arrays


View = Callable[[Scene], np.ndarray]


def sample_source(
    module: str,
    layer: str,
    param_str: str,
    tops: Sequence[str],
    *,
    rank: int = 0,
    world: int = 1,
    seed: int | None = None,
    sample: Sample | None = None,
) -> Source:
    """The sample in place of a published layer's data: its tops, means, classes and order; no files are read.

    A split whose name contains "train" is the sample's train, any other its val.
    """
    _, params, names = read_layer(module, layer, param_str, tops)
    views, classes = _views(module, params)
    split = "train" if "train" in params["split"] else "val"
    dataset = SampleDataset(sample or Sample(), split, {top: views[top] for top in names}, classes)
    return Source(dataset, names, params, rank=rank, world=world, seed=seed)


def _views(module: str, params: Params) -> tuple[dict[str, View], dict[str, int]]:
    """The tops of each published layer as functions of a scene, and the classes of those that are labels."""
    if module == "nyud_layers":
        views = {"color": _image(nyud.MEAN), "depth": _log_depth, "hha": _hha, "label": _label(ROOMS, NYUD_CLASSES)}
        return views, {"label": nyud.CLASSES}
    if module == "siftflow_layers":
        semantic = _label(OUTDOORS, SIFTFLOW_CLASSES)
        return {"data": _image(siftflow.MEAN), "sem": semantic, "geo": _geometry}, siftflow.CLASSES
    if module == "pascalcontext_layers":
        context = _label(CONTEXTS, PASCAL_CONTEXT_CLASSES)
        return {"data": _image(pascalcontext.MEAN), "label": context}, {"label": pascalcontext.CLASSES}
    voc = {"data": _image(params["mean"]), "label": lambda scene: label_blob(scene.label)}
    return voc, {"label": params["classes"]}


def _image(mean: Any) -> View:
    return lambda scene: bgr_blob(scene.image, mean)


def _label(names: Sequence[str], classes: Sequence[str]) -> View:
    """The sample's labels in another data set's numbers; `names` as ROOMS has them."""
    behind, ground, *things = (classes.index(name) for name in names)

    def view(scene: Scene) -> np.ndarray:
        table = np.full(256, VOID)
        table[list(THINGS)] = things
        return label_blob(np.where(scene.label == 0, np.where(_on_ground(scene), ground, behind), table[scene.label]))

    return view


def _geometry(scene: Scene) -> np.ndarray:
    sky, horizontal, vertical = range(len(SIFTFLOW_GEOMETRY))
    label = np.where(scene.label == 0, np.where(_on_ground(scene), horizontal, sky), vertical)
    return label_blob(np.where(scene.label == VOID, VOID, label))


def _rows(scene: Scene) -> np.ndarray:
    return np.arange(scene.label.shape[0])[:, None]


def _on_ground(scene: Scene) -> np.ndarray:
    return (_rows(scene) >= scene.horizon) & (scene.stands == _rows(scene))


def _depth(scene: Scene) -> np.ndarray:
    """Millimetres to where a pixel's thing stands: 1 / depth grows in proportion from the horizon to the lowest row."""
    below = (scene.stands - scene.horizon) / (scene.label.shape[0] - 1 - scene.horizon)
    return 1 / (1 / FARTHEST + np.clip(below, 0, 1) * (1 / NEAREST - 1 / FARTHEST))


def _log_depth(scene: Scene) -> np.ndarray:
    return depth_blob(_depth(scene), nyud.LOG_DEPTH_MEAN, "sample")


def _hha(scene: Scene) -> np.ndarray:
    """Disparity, height above the ground and angle with gravity, each in 0..255, minus their means."""
    depth = _depth(scene)
    disparity = 255 * NEAREST / depth
    above = (scene.stands - _rows(scene)) * depth / FARTHEST
    height = np.clip(255 * above / scene.label.shape[0] * 2, 0, 255)
    angle = np.where(_on_ground(scene), 32, 128)
    return blob(np.rint(np.stack([disparity, height, angle], axis=2)), nyud.HHA_MEAN)
