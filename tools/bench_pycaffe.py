"""What Caffe's Python interface costs: FCN-8s forward through netspec.pycaffe beside the net that it wraps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bench_fcn8s
from bench_contenders import Run, array, netspec_net, netspec_pass
from bench_turns import Job, compare, ratio

GOAL = 1.03


def module(job: Job) -> Run:
    """netspec.load, as it comes."""
    return netspec_pass(job, netspec_net(job))


def script(job: Job) -> Run:
    """As scripts have it: the image copied into a blob, the score read from one."""
    from netspec import pycaffe

    net = pycaffe.Net(str(bench_fcn8s.DEPLOY), str(Path(job.folder) / "fcn8s.caffemodel"), pycaffe.TEST)
    net.blobs["data"].reshape(*job.shape)
    data = array(job, "images")

    def run() -> Any:
        net.blobs["data"].data[...] = data
        net.forward()
        return net.blobs["score"].data

    return run


def main(folder: str, size: str, runs: int, threads: int) -> list[dict[str, Any]]:
    """Prints both and their ratio; the rows as --json writes them."""
    height, width = (int(n) for n in size.split("x"))
    shape = (1, 3, height, width)
    bench_fcn8s.make(folder, "images", shape)
    print(
        f"Caffe's Python interface, FCN-8s at {size}, {threads} threads, medians of {runs} interleaved runs", flush=True
    )
    calls = {"netspec.load": module, "netspec.pycaffe": script}
    jobs = [
        Job("forward", name, f"bench_pycaffe:{call.__name__}", "fp32", shape, folder, threads)
        for name, call in calls.items()
    ]
    workers = compare(jobs, runs)
    for w in workers:
        print(f"  {w.job.contender:24}{w.median:9.3f} s{w.peak:8.0f} MiB")
    found = ratio(workers[1], workers[0])
    print(f"  netspec.pycaffe / netspec.load{found:10.3f}  goal {GOAL}, {'met' if found <= GOAL else 'missed'}\n")
    return [{"part": "pycaffe", **w.row()} for w in workers]
