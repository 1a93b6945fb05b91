"""Time the rasteriser of Gaussians: frames, and forward with backward passes, of a scaffold's moving Gaussians.

    python tools/benchmark_gaussians.py
    python tools/benchmark_gaussians.py --engine triton --gaussians 200000 --sizes 512 1024

Prints a table of milliseconds, the least and the median over repetitions, as processor time of one thread; of other
engines than torch, as time until the GPU is done. The scene is made up: an ellipsoid's surface that fills two fifths of
the picture, covered with ellipsoids of many sizes and opacities, each carried by four of 200 nodes.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from syncnerf.cli import report_user_errors
from syncnerf.encodings.engines import choose_engine
from syncnerf.job import choose_device
from syncnerf.processor import settle_processor
from syncnerf.scene.camera import Intrinsics
from syncnerf_gaussians.gaussians import Gaussians, Motion, PinholePicture, Poses, Skinning
from syncnerf_gaussians.raster import rasterise, rasterise_rates
from syncnerf_gaussians.spec import SPEC

NODES, RESTS = 200, 12


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gaussians", type=int, default=10_000, help="how many (default 10000)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512], help="pictures, pixels (128 256 512)")
    parser.add_argument("--degree", type=int, default=1, help="of the spherical harmonics (default 1)")
    parser.add_argument("--scale", type=float, default=0.02, help="median standard deviation, radius 1 (default 0.02)")
    parser.add_argument("--repetitions", type=int, default=50, help="of each measurement (default 50)")
    parser.add_argument("--engine", default="torch", help="what draws: torch (default), triton or gsplat")
    own = parser.parse_args(arguments)
    device = choose_device("cpu" if own.engine == "torch" else "auto")
    choose_engine(own.engine, device, SPEC.engines)
    settle_processor()
    torch.set_num_threads(1)
    gaussians = shell(own.gaussians, own.scale, own.degree)
    motion = moved_to(device, carried(gaussians))
    gaussians = moved_to(device, gaussians)
    print(f"{own.gaussians} Gaussians, {NODES} nodes, harmonics of degree {own.degree}; milliseconds, least (median)")
    print(f"{'pixels':>8} {'frame':>16} {'with slopes':>16} {'forward':>16} {'and backward':>16}")
    for size in own.sizes:
        columns = measure(gaussians, motion, view(size), own.repetitions, own.engine)
        print(f"{size:>8} " + " ".join(f"{min(c):7.2f} ({statistics.median(c):6.2f})" for c in columns))
    return 0


def measure(
    gaussians: Gaussians, motion: Motion, seen: PinholePicture, repetitions: int, engine: str
) -> list[list[float]]:
    """Milliseconds of frames with depth, frames with derivatives by time, forward passes, and both passes."""
    device = gaussians.means.device

    def step() -> list[float]:
        start = now(device)
        rgb = rasterise(gaussians, [seen], motion, False, engine).rgb
        middle = now(device)
        rgb.backward(torch.ones_like(rgb))
        return [middle - start, now(device) - start]

    def timed(action: Callable, *more) -> list[float]:
        moments = []
        for _ in range(repetitions):
            start = now(device)
            action(gaussians, [seen], motion, *more)
            moments.append(now(device) - start)
        return moments

    with torch.no_grad():
        frames, slopes = timed(rasterise, True, engine), timed(rasterise_rates, engine)
    leaves = [*vars(gaussians).values(), motion.skinning.poses.positions, motion.skinning.poses.quaternions]
    for tensor in leaves:
        tensor.requires_grad_()
    forward, both = zip(*(step() for _ in range(repetitions)), strict=True)
    return [frames, slopes, list(forward), list(both)]


def now(device: torch.device) -> float:
    """Milliseconds of this process's own time, or of the clock when a GPU has done what it was asked for."""
    if device.type == "cpu":
        return 1e3 * time.process_time()
    torch.cuda.synchronize()
    return 1e3 * time.perf_counter()


def moved_to(device: torch.device, thing):
    """A dataclass with all its tensors on a device."""
    if isinstance(thing, torch.Tensor):
        return thing.to(device)
    return None if thing is None else type(thing)(*(moved_to(device, value) for value in vars(thing).values()))


def shell(count: int, scale: float, degree: int) -> Gaussians:
    """Ellipsoids on the surface of one."""
    draw = torch.Generator().manual_seed(0)
    on_sphere = torch.nn.functional.normalize(torch.randn(count, 3, generator=draw), dim=-1)
    return Gaussians(
        means=on_sphere * torch.tensor([1.0, 0.8, 0.6]),
        quaternions=torch.randn(count, 4, generator=draw),
        log_scales=math.log(scale) + 0.5 * torch.randn(count, 3, generator=draw),
        opacity_logits=2.0 * torch.randn(count, generator=draw) - 0.5,
        harmonics=0.3 * torch.randn(count, (degree + 1) ** 2, 3, generator=draw),
    )


def carried(gaussians: Gaussians) -> Motion:
    """A moment of a scaffold that has moved by little since the moments of rest."""
    draw = torch.Generator().manual_seed(1)
    places = gaussians.means[torch.randperm(len(gaussians), generator=draw)[:NODES]]
    nodes = torch.cdist(gaussians.means, places).topk(4, largest=False).indices

    def poses(moments: int) -> Poses:
        turns = torch.tensor([1.0, 0.0, 0.0, 0.0]) + 0.02 * torch.randn(moments, len(places), 4, generator=draw)
        moved = places + 0.02 * torch.randn(moments, *places.shape, generator=draw)
        return Poses(moved, torch.nn.functional.normalize(turns, dim=-1))

    skinning = Skinning(
        nodes=nodes.int(),
        weights=torch.softmax(torch.randn(len(nodes), 4, generator=draw), dim=-1),
        moments=torch.randint(0, RESTS, (len(nodes),), generator=draw, dtype=torch.int32),
        rest=poses(RESTS),
        poses=poses(1),
    )
    speeds = replace(poses(1), positions=torch.randn(1, *places.shape, generator=draw))
    return Motion(torch.zeros(1, dtype=torch.float64), replace(skinning, rates=speeds))


def view(size: int) -> PinholePicture:
    """A camera at four times the radius."""
    pose = torch.eye(4, dtype=torch.float64)
    pose[2, 3] = 4.0
    focal = 178.0 * size / 128
    return PinholePicture(Intrinsics(size, size, focal, focal, size / 2, size / 2), pose, 0.1, 100.0)


if __name__ == "__main__":
    sys.exit(report_user_errors(main))
