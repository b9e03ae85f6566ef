"""A data layer in Caffe's own Python: images and labels of PASCAL VOC's folders, one of each at a time.

In a net:

    layer {
      name: "data" type: "Python" top: "data" top: "label"
      python_param {
        module: "segmentation_layers" layer: "VOCSegments"
        param_str: "{'voc_dir': 'data/VOC2011', 'split': 'train', 'mean': (104.007, 116.669, 122.679), 'seed': 1337}"
      }
    }
"""

import ast
import os
import random

import caffe
import numpy as np
from PIL import Image


class VOCSegments(caffe.Layer):
    """Tops: 1 x 3 x H x W in blue, green, red minus mean, and 1 x 1 x H x W class numbers, 255 for what does not count.

    param_str: voc_dir, split, mean (B, G, R); randomize (True but for TEST), seed.
    """

    def setup(self, bottom, top):
        if bottom or len(top) != 2:
            raise ValueError("VOCSegments has no bottoms and two tops, data and label")
        settings = ast.literal_eval(self.param_str)
        self.folder = settings["voc_dir"]
        self.mean = np.array(settings["mean"], np.float32)
        names = os.path.join(self.folder, "ImageSets", "Segmentation", settings["split"] + ".txt")
        with open(names) as lines:
            self.names = lines.read().split()
        self.draw = random.Random(settings.get("seed"))
        self.shuffled = settings.get("randomize", self.phase == caffe.TRAIN)
        self.at = self.draw.randrange(len(self.names)) if self.shuffled else 0

    def reshape(self, bottom, top):
        name = self.names[self.at]
        self.image, self.label = self.load_image(name), self.load_label(name)
        top[0].reshape(1, *self.image.shape)
        top[1].reshape(1, *self.label.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.image
        top[1].data[...] = self.label
        self.at = self.draw.randrange(len(self.names)) if self.shuffled else (self.at + 1) % len(self.names)

    def backward(self, top, propagate_down, bottom):
        pass

    def load_image(self, name):
        with Image.open(os.path.join(self.folder, "JPEGImages", name + ".jpg")) as file:
            rgb = np.asarray(file.convert("RGB"), np.float32)
        return (rgb[:, :, ::-1] - self.mean).transpose(2, 0, 1)

    def load_label(self, name):
        with Image.open(os.path.join(self.folder, "SegmentationClass", name + ".png")) as file:
            return np.asarray(file, np.uint8)[None]


class PixelLoss(caffe.Layer):
    """Half the squared distance of two bottoms per item: a loss, with its gradient, in numpy."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise ValueError("PixelLoss compares two bottoms")

    def reshape(self, bottom, top):
        if bottom[0].count != bottom[1].count:
            raise ValueError("the bottoms of PixelLoss must have as many values")
        self.distance = np.zeros(bottom[0].shape, np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.distance[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.distance**2) / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * top[0].diff[0] * self.distance / bottom[i].num
