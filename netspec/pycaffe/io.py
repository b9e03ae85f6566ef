"""caffe.io: images and blobs between files, arrays and messages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from netspec.errors import SpecError
from netspec.layers.stored import blob_values
from netspec.pycaffe.proto import caffe_pb2

# -- messages


def blobproto_to_array(blob: Any, return_diff: bool = False) -> np.ndarray:
    """A BlobProto's values, or its diff, in its shape; legacy blobs have four axes."""
    try:
        found = blob_values(blob)
    except SpecError as e:
        raise ValueError(e.message) from None
    return np.array(blob.double_diff or blob.diff, np.float32).reshape(found.shape) if return_diff else found


def array_to_blobproto(arr: Any, diff: Any = None) -> Any:
    """A BlobProto of an array's shape, with a diff of the same number of values if one is given."""
    array = np.asarray(arr)
    blob = caffe_pb2.BlobProto(data=array.astype(float).ravel().tolist())
    blob.shape.dim.extend(array.shape)
    if diff is not None:
        blob.diff.extend(np.asarray(diff).astype(float).ravel().tolist())
    return blob


def arraylist_to_blobprotovector_str(arraylist: Sequence[Any]) -> bytes:
    """Arrays as a serialised BlobProtoVector."""
    return caffe_pb2.BlobProtoVector(blobs=[array_to_blobproto(a) for a in arraylist]).SerializeToString()


def blobprotovector_str_to_arraylist(str: bytes) -> list[np.ndarray]:
    """The arrays of a serialised BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector()
    vector.ParseFromString(str)
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr: Any, label: int | None = None) -> Any:
    """A Datum of a K x H x W array: bytes if it is uint8, else floats."""
    array = np.asarray(arr)
    if array.ndim != 3:
        raise ValueError(f"a Datum has three axes, channels x height x width, not {array.ndim}")
    datum = caffe_pb2.Datum(**dict(zip(("channels", "height", "width"), array.shape, strict=True)))
    if array.dtype == np.uint8:
        datum.data = array.tobytes()
    else:
        datum.float_data.extend(array.astype(float).ravel().tolist())
    if label is not None:
        datum.label = int(label)
    return datum


def datum_to_array(datum: Any) -> np.ndarray:
    """The K x H x W values of a Datum that is not encoded: uint8, or float."""
    shape = (datum.channels, datum.height, datum.width)
    if len(datum.data):
        return np.frombuffer(datum.data, np.uint8).reshape(shape)
    return np.array(datum.float_data, float).reshape(shape)


# -- images


def load_image(filename: str | Path, color: bool = True) -> np.ndarray:
    """An image file as float32 H x W x 3 in 0..1, red first; grey ones H x W x 1 unless `color`. Alpha is dropped.

    OSError where the file is not there or no image.
    """
    with Image.open(filename) as image:
        deep = image.mode.startswith("I")
        flat = image if deep else image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
        pixels = np.asarray(flat).astype(np.float32) / np.float32(65535 if deep else 255)
    if pixels.ndim == 3:
        return pixels
    return np.tile(pixels[:, :, None], (1, 1, 3 if color else 1))


def resize_image(im: np.ndarray, new_dims: Sequence[int] | np.ndarray, interp_order: int = 1) -> np.ndarray:
    """H x W x K -> new height x new width x K, float32, by splines of an order (1: bilinear).

    With 1 or 3 channels pixel centres keep their places in the picture, shrinking smooths first, what lies outside is
    0, and values stay in the range they had. Other numbers of channels are zoomed corner to corner without smoothing.
    """
    height, width = (int(n) for n in new_dims)
    if im.shape[-1] not in (1, 3):
        zoom = (height / im.shape[0], width / im.shape[1], 1)
        return ndimage.zoom(im, zoom, order=interp_order).astype(np.float32)
    low, high = float(im.min()), float(im.max())
    if high <= low:
        return np.full((height, width, im.shape[-1]), low, np.float32)
    unit = ((im - low) / (high - low)).astype(np.float64)
    factors = (im.shape[0] / height, im.shape[1] / width, 1)
    if any(f > 1 for f in factors):
        unit = ndimage.gaussian_filter(unit, [max(0, (f - 1) / 2) for f in factors], mode="constant")
    zoomed = ndimage.zoom(unit, [1 / f for f in factors], order=interp_order, mode="grid-constant", grid_mode=True)
    return (zoomed.clip(unit.min(), unit.max()) * (high - low) + low).astype(np.float32)


def oversample(images: Sequence[np.ndarray], crop_dims: Sequence[int] | np.ndarray) -> np.ndarray:
    """Ten crops of each H x W x K image: the four corners and the centre, and their mirror images, in this order."""
    shape, crop = np.array(images[0].shape[:2]), np.array(crop_dims)
    far = shape - crop
    starts = [(y, x) for y in (0, far[0]) for x in (0, far[1])]
    middle = (shape / 2.0 - crop / 2.0).astype(int)
    starts.append((middle[0], middle[1]))
    crops = []
    for image in images:
        five = [image[y : y + crop[0], x : x + crop[1]] for y, x in starts]
        crops += five + [piece[:, ::-1] for piece in five]
    return np.array(crops, np.float32)


class Transformer:
    """Turns images into net inputs and back, by settings per input blob.

    `Transformer({"data": net.blobs["data"].shape})`. Order: resize, transpose, swap channels, times raw_scale, minus
    mean, times input_scale.
    """

    def __init__(self, inputs: dict[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Any] = {}
        self.channel_swap: dict[str, Any] = {}
        self.raw_scale: dict[str, Any] = {}
        self.mean: dict[str, Any] = {}
        self.input_scale: dict[str, Any] = {}

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """An H x W x K image as the net takes it, K x H x W float32."""
        self._check(in_)
        image = data.astype(np.float32, copy=False)
        size = tuple(self.inputs[in_][2:])
        if image.shape[:2] != size:
            image = resize_image(image, size)
        if self.transpose.get(in_) is not None:
            image = image.transpose(self.transpose[in_])
        if self.channel_swap.get(in_) is not None:
            image = image[self.channel_swap[in_], :, :]
        for settings, apply in (
            (self.raw_scale, np.multiply),
            (self.mean, np.subtract),
            (self.input_scale, np.multiply),
        ):
            if settings.get(in_) is not None:
                image = apply(image, np.asarray(settings[in_], np.float32))
        return image

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """The image that a net input (with or without its batch axis) came from, but for its size."""
        self._check(in_)
        image = data.copy().squeeze()
        if self.input_scale.get(in_) is not None:
            image = image / self.input_scale[in_]
        if self.mean.get(in_) is not None:
            image = image + self.mean[in_]
        if self.raw_scale.get(in_) is not None:
            image = image / self.raw_scale[in_]
        if self.channel_swap.get(in_) is not None:
            image = image[np.argsort(self.channel_swap[in_]), :, :]
        if self.transpose.get(in_) is not None:
            image = image.transpose(np.argsort(self.transpose[in_]))
        return image

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """The order of axes: (2, 0, 1) makes K x H x W of H x W x K."""
        self._check(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise ValueError(f"the transpose of '{in_}' wants {len(self.inputs[in_]) - 1} axes, not {len(order)}")
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """The order of channels: (2, 1, 0) makes blue, green, red of red, green, blue."""
        self._check(in_)
        if len(order) != self.inputs[in_][1]:
            raise ValueError(f"'{in_}' has {self.inputs[in_][1]} channels; the swap names {len(order)}")
        self.channel_swap[in_] = list(order)

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Before the mean: 255 for images in 0..1."""
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: np.ndarray) -> None:
        """One value per channel, or K x H x W (or H x W), resized to the input's size."""
        self._check(in_)
        mean = np.asarray(mean)
        if mean.ndim == 1:
            if mean.shape[0] not in (1, self.inputs[in_][1]):
                raise ValueError(f"'{in_}' has {self.inputs[in_][1]} channels; the mean has {mean.shape[0]}")
            mean = mean[:, None, None]
        elif mean.ndim in (2, 3):
            mean = self._fitting(in_, mean.reshape(-1, *mean.shape[-2:]))
        else:
            raise ValueError(f"a mean has one axis (channels), two or three, not {mean.ndim}")
        self.mean[in_] = mean

    def _fitting(self, in_: str, mean: np.ndarray) -> np.ndarray:
        want = tuple(self.inputs[in_][1:])
        if mean.shape[0] != want[0]:
            raise ValueError(f"'{in_}' has {want[0]} channels; the mean has {mean.shape[0]}")
        if mean.shape == want:
            return mean
        return resize_image(mean.transpose(1, 2, 0), want[1:]).transpose(2, 0, 1)

    def set_input_scale(self, in_: str, scale: float) -> None:
        """After the mean."""
        self._check(in_)
        self.input_scale[in_] = scale

    def _check(self, in_: str) -> None:
        if in_ not in self.inputs:
            raise ValueError(f"'{in_}' is not one of the net inputs: {sorted(self.inputs)}")
