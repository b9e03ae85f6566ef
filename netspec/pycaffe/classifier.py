"""Classifier: a net that takes images of any size and gives class scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.pycaffe import io
from netspec.pycaffe.net import Net

TEST = 1


def transformer(net: Net, mean: Any, input_scale: Any, raw_scale: Any, channel_swap: Any) -> io.Transformer:
    """The Transformer of a net's input for H x W x K images, with the settings that are given."""
    name = net.inputs[0]
    made = io.Transformer({name: net.blobs[name].shape})
    made.set_transpose(name, (2, 0, 1))
    for put, value in (
        (made.set_mean, mean),
        (made.set_input_scale, input_scale),
        (made.set_raw_scale, raw_scale),
        (made.set_channel_swap, channel_swap),
    ):
        if value is not None:
            put(name, value)
    return made


class Classifier(Net):
    """`Classifier(model, weights, image_dims=(256, 256), mean=..., raw_scale=255, channel_swap=(2, 1, 0))`.

    `image_dims`: the size images are brought to before they are cropped to the net's input; its own by default.
    """

    def __init__(
        self,
        model_file: str,
        pretrained_file: str,
        image_dims: Sequence[int] | None = None,
        mean: Any = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].shape[2:])
        self.image_dims = np.array(image_dims) if image_dims is not None else self.crop_dims

    def predict(self, inputs: Sequence[np.ndarray], oversample: bool = True) -> np.ndarray:
        """N x classes scores of H x W x K images: the mean over ten crops each, or of the centre alone."""
        images = np.array([io.resize_image(image, self.image_dims) for image in inputs], np.float32)
        if oversample:
            crops = io.oversample(list(images), self.crop_dims)
        else:
            top, left = ((self.image_dims - self.crop_dims) / 2.0).astype(int)
            crops = images[:, top : top + self.crop_dims[0], left : left + self.crop_dims[1]]
        name = self.inputs[0]
        batch: Any = np.array([self.transformer.preprocess(name, crop) for crop in crops], np.float32)
        scores = self.forward_all(**{name: batch})[self.outputs[0]]
        return scores.reshape(len(inputs), -1, *scores.shape[1:]).mean(1) if oversample else scores
