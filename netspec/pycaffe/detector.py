"""Detector: a net applied to windows of images (R-CNN)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.errors import SpecError
from netspec.pycaffe import io
from netspec.pycaffe.classifier import TEST, transformer
from netspec.pycaffe.net import Net

Window = Sequence[int]


class Detector(Net):
    """`Detector(model, weights, mean=..., raw_scale=255, channel_swap=(2, 1, 0), context_pad=16)`.

    Windows are (ymin, xmin, ymax, xmax) in pixels. `context_pad`: how many pixels of the net's input around a window
    show what surrounds it; beyond the image it is the mean.
    """

    def __init__(
        self,
        model_file: str,
        pretrained_file: str,
        mean: Any = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows: Sequence[tuple[Any, Any]]) -> list[dict[str, Any]]:
        """One {window, prediction, filename} for every window of every (image file, windows)."""
        name, crops, rows = self.inputs[0], [], []
        for file, windows in images_windows:
            image = io.load_image(file).astype(np.float32)
            for window in windows:
                crops.append(self.transformer.preprocess(name, self.crop(image, window)))
                rows.append({"window": window, "filename": file})
        if not rows:
            return []
        batch: Any = np.array(crops, np.float32)
        scores = self.forward_all(**{name: batch})[self.outputs[0]]
        return [{**row, "prediction": score.reshape(-1)} for row, score in zip(rows, scores, strict=True)]

    def detect_selective_search(self, image_fnames: Sequence[str]) -> list[dict[str, Any]]:
        """Refused: the windows come from a MATLAB program that this package has no counterpart of."""
        raise SpecError("selective search is not there; make windows by other means and call detect_windows")

    def crop(self, im: np.ndarray, window: Window) -> np.ndarray:
        """The window of an image; with context_pad, of the net's input size and with what surrounds it."""
        ymin, xmin, ymax, xmax = (int(v) for v in window)
        if not self.context_pad:
            return im[ymin:ymax, xmin:xmax]
        size = np.array(self.blobs[self.inputs[0]].shape[2:])
        scale = size[0] / (size[0] - 2.0 * self.context_pad)
        half = np.array([ymax - ymin + 1, xmax - xmin + 1]) / 2.0
        centre = np.array([ymin, xmin]) + half
        begin = np.round(centre - scale * half).astype(int)
        end = np.round(centre + scale * half).astype(int)
        inside = np.maximum(begin, 0), np.minimum(end, np.array(im.shape[:2]) - 1)
        piece = im[inside[0][0] : inside[1][0], inside[0][1] : inside[1][1]]
        unit = size / (end - begin + 1.0)
        offset = np.round((inside[0] - begin) * unit).astype(int)
        room = np.minimum(np.round((inside[1] - inside[0] + 1) * unit).astype(int), size - offset)
        crop = np.ones((*size, im.shape[2]), np.float32) * self.crop_mean
        crop[offset[0] : offset[0] + room[0], offset[1] : offset[1] + room[1]] = io.resize_image(piece, room)
        return crop

    def configure_crop(self, context_pad: int | None) -> None:
        """How much context windows get, and the mean, as an image would hold it, beyond the image."""
        self.context_pad = context_pad
        if not context_pad:
            return
        name = self.inputs[0]
        mean, shape = self.transformer.mean.get(name), self.blobs[name].shape[1:]
        self.transformer.mean[name] = None
        filled = np.broadcast_to(np.zeros(1) if mean is None else mean, shape).astype(np.float32)
        self.crop_mean = self.transformer.deprocess(name, filled)
        self.transformer.mean[name] = mean
