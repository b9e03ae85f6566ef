"""Net surgery on two `caffe.Net`s: weights from one to another that is not quite the same."""

import numpy as np


def bilinear(size):
    """The size x size kernel that interpolates: (1 - |x - c| / f)(1 - |y - c| / f)."""
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    line = 1 - np.abs(np.arange(size) - centre) / factor
    return np.outer(line, line)


def interpolate(net, layers):
    """Makes Deconvolution layers interpolate each channel for itself."""
    for name in layers:
        weight = net.params[name][0].data
        inputs, outputs, height, width = weight.shape
        if height != width or outputs not in (1, inputs):
            raise ValueError(f"{name}: a kernel of {weight.shape} cannot interpolate")
        weight[...] = 0
        weight[range(inputs), range(inputs) if outputs > 1 else 0] = bilinear(height)


def transplant(new, old, suffix=""):
    """Copies by layer name (of the new net: name + suffix); equal numbers of values take the new shape.

    The fully connected layers of a classifier so become convolutions. Returns the new net's layers that got nothing.
    """
    left = []
    for name, blobs in new.params.items():
        source = name[: len(name) - len(suffix)] if suffix and name.endswith(suffix) else name
        if source not in old.params or (suffix and not name.endswith(suffix)):
            left.append(name)
            continue
        for mine, theirs in zip(blobs, old.params[source], strict=True):
            if mine.count == theirs.count:
                mine.data.flat = theirs.data.flat
            else:
                print(f"{name}: {tuple(theirs.shape)} does not fit {tuple(mine.shape)}, left")
    return left


def expand_score(new, name, old, old_name):
    """A score layer of more classes begins with those of the old one; the others are as they were."""
    for mine, theirs in zip(new.params[name], old.params[old_name], strict=True):
        part = tuple(slice(0, n) for n in theirs.shape)
        mine.data[part] = theirs.data
