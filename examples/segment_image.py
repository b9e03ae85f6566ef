"""Labels the pixels of one picture, of any size.

netspec python examples/segment_image.py deploy.prototxt fcn8s-heavy-pascal.caffemodel street.jpg street.png
"""

import sys

import caffe
import numpy as np
from PIL import Image

MEAN = (104.00698793, 116.66876762, 122.67891434)  # blue, green, red


def main(model, weights, picture, out):
    with Image.open(picture) as file:
        rgb = np.asarray(file.convert("RGB"), np.float32)
    data = (rgb[:, :, ::-1] - np.array(MEAN, np.float32)).transpose(2, 0, 1)

    net = caffe.Net(model, weights, caffe.TEST)
    net.blobs["data"].reshape(1, *data.shape)
    net.blobs["data"].data[...] = data
    net.forward()
    labels = net.blobs["score"].data[0].argmax(axis=0)

    Image.fromarray(labels.astype(np.uint8)).save(out)
    print("classes:", sorted(set(labels.ravel().tolist())))


main(*sys.argv[1:])
