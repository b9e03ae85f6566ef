"""Weights of a classifier for a fully convolutional net, by net surgery.

netspec python examples/make_fcn_weights.py vgg16.prototxt vgg16.caffemodel voc-fcn32s.prototxt voc-fcn32s.caffemodel
"""

import sys

import caffe
import surgery


def main(old_net, old_weights, new_net, new_weights):
    old = caffe.Net(old_net, old_weights, caffe.TEST)
    new = caffe.Net(new_net, caffe.TEST)
    left = surgery.transplant(new, old)
    surgery.interpolate(new, [name for name in left if "up" in name])
    new.save(new_weights)
    print("from the old net:", *[name for name in new.params if name not in left])
    print("as they were, or interpolating:", *left)


main(*sys.argv[1:])
