"""Trains an FCN with a loop of its own: weights, interpolation, then rounds of steps and scores.

netspec python examples/train_fcn.py SOLVER --weights VGG16.caffemodel --rounds 25 --steps 4000 --images 736
"""

import argparse

import caffe
import score
import surgery


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("solver")
    parser.add_argument("--weights", help="a .caffemodel to start from; layers go by name")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--images", type=int, default=736, help="images of the test net to score")
    parser.add_argument("--gpu", type=int)
    parser.add_argument("--save", help="where the weights go in the end")
    wanted = parser.parse_args()
    if wanted.gpu is not None:
        caffe.set_device(wanted.gpu)
        caffe.set_mode_gpu()

    solver = caffe.get_solver(wanted.solver)
    if wanted.weights:
        solver.net.copy_from(wanted.weights)
    surgery.interpolate(solver.net, [name for name in solver.net.params if "up" in name])
    for _ in range(wanted.rounds):
        solver.step(wanted.steps)
        score.test(solver, wanted.images)
    if wanted.save:
        solver.net.save(wanted.save)


main()
