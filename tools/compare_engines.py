"""The engines side by side: what a step spends its time on, its memory, and how near it comes to the hardware's rates.

Run by ``python tools/benchmark.py --compare``; see there.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import torch
from device_rates import Rates, device_name, measure_rates, median_seconds, peak_memory, waiting
from phase_times import timed_phases
from torch.utils.flop_counter import FlopCounterMode

from syncnerf.assembly import assemble, make_batches
from syncnerf.config import Config
from syncnerf.encodings import fused_mlp
from syncnerf.encodings.engines import ENGINES, missing
from syncnerf.job import Job, choose_device
from syncnerf.options import parse
from syncnerf.train import plan_of
from syncnerf.training.ranks import Ranks
from syncnerf.training.trainer import Trainer
from syncnerf_kplanes.plane_lookup import plane_features, plane_features_torch
from syncnerf_kplanes.planes import PlaneGrid

CONFIGS = Path(__file__).parent.parent / "configs" / "kplanes"
PHASES = ("batch", "sampling", "field", "losses", "backward", "optimizer")
REFERENCE = (
    "--sampler=proposal", "--batch-size=1024", "--proposal-samples=64", "--proposal-resolutions=64",
    "--field-samples=32",
)  # fmt: skip
WORKLOADS = {
    "reference step for two CPU cores: 1024 rays, 64+32 samples": (CONFIGS / "demo.txt", REFERENCE),
    "hybrid K-Planes as published: 4096 rays, 256+128 -> 48 samples": (CONFIGS / "blender.txt", ()),
    "hash field: 4096 rays, 256+128 -> 48 samples": (CONFIGS / "blender_hash.txt", ()),
}
SMALL = (
    "--batch-size=64", "--proposal-samples=16,8", "--proposal-resolutions=8,8", "--field-samples=8",
    "--plane-resolution=8", "--hash-table=8", "--proposal-table=8", "--hash-levels=4", "--hash-finest=32",
    "--occupancy-resolution=16",
)  # fmt: skip


@dataclass(frozen=True)
class StepCost:
    """One engine's training step: seconds in all and by phase, peak bytes, and the least work that it has to do.

    Attributes:
        seconds: as it is trained; on a GPU replayed from a recording, where it can be.
        one_by_one: the same with every operation launched from Python; equal on a CPU.
        phases: of the latter, seconds by name, with waits between them.
        memory: most bytes in use at once.
        state_bytes: that a step reads and writes at least: parameters, their gradients and the optimizer's moments.
    """

    seconds: float
    one_by_one: float
    phases: dict[str, float]
    memory: int
    state_bytes: int


def compare(arguments: Sequence[str], warmup: int, steps: int, small: bool) -> list[str]:
    """Measure every engine and return the lines to print.

    Args:
        arguments: options of ``syncnerf train``; the scene at least. Where they name a configuration, that one is
            measured instead of :data:`WORKLOADS`.
        warmup: steps before the clock starts.
        steps: timed steps.
        small: sizes at which everything takes moments: shows that it runs, measures nothing.
    """
    device = choose_device(parse(arguments).training.device)
    rates = measure_rates(device, small)
    lines = [
        f"device: {device_name(device)}; copies {rates.copied_bytes / 1e9:.1f} GB/s, "
        f"multiplies {rates.matrix_flops / 1e12:.3f} Tflop/s (32-bit)",
        "",
        *lookup_lines(device, rates, small),
    ]
    own = any(argument.split("=")[0] == "--config" for argument in arguments)
    workloads = {"the given configuration": (None, ())} if own else WORKLOADS
    for title, (path, options) in workloads.items():
        given = ([f"--config={path}"] if path else []) + [*options, *(SMALL if small else ()), *arguments]
        if small and "--proposal-samples=64" in options:
            given += ["--proposal-samples=16", "--proposal-resolutions=8"]
        lines += ["", title, *step_lines(given, device, rates, warmup, steps)]
    return lines


def step_lines(arguments: Sequence[str], device: torch.device, rates: Rates, warmup: int, steps: int) -> list[str]:
    """A table of the engines' steps of one configuration."""
    flops = count_flops(parse([*arguments, "--engine=torch"]))
    lines = [
        "| engine | step | one by one | " + " | ".join(PHASES) + " | other | memory | of copy rate | of matrix rate |",
        "|" + "---|" * (len(PHASES) + 7),
    ]
    for engine in reversed(ENGINES):
        reason = missing(engine, device)
        if reason is not None:
            lines.append(f"| {engine} | cannot run: {reason} |" + " |" * (len(PHASES) + 5))
            continue
        cost = measure_step(parse([*arguments, f"--engine={engine}"]), warmup, steps)
        parts = [cost.phases.get(name, 0.0) for name in PHASES]
        numbers = [cost.seconds, cost.one_by_one, *parts, max(0.0, cost.one_by_one - sum(parts))]
        cells = [f"{1e3 * number:.2f} ms" for number in numbers]
        cells += [f"{cost.memory / 2**20:.0f} MiB"]
        cells += [f"{100 * cost.state_bytes / cost.seconds / rates.copied_bytes:.3g} %"]
        cells += [f"{100 * flops / cost.seconds / rates.matrix_flops:.3g} %"]
        lines.append(f"| {engine} | " + " | ".join(cells) + " |")
    lines += [
        f"{flops / 1e9:.2f} Gflop of matrix products in a step; of copy rate: bytes that parameters, gradients and "
        "Adam's moments must move at least. A step is replayed from CUDA graphs where it can be; phases are of steps "
        "launched operation by operation, with waits between them."
    ]
    return lines


def make_trainer(config: Config, folder: Path, ranks: Ranks | None = None) -> Trainer:
    """A trainer as the command makes it, without records."""
    job = Job.of(config)
    job.scene.frame_cache.prepare(job.scene.cameras)
    return Trainer(assemble(job), make_batches(job), replace(plan_of(job), folder=folder, ranks=ranks or Ranks()))


def count_flops(config: Config) -> int:
    """Floating-point operations of the matrix products in one step, forward and backward."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(config, Path(folder))
        # What a kernel in C multiplies the counter does not see; its torch twin multiplies the same.
        with FlopCounterMode(display=False) as counter, patch.object(fused_mlp, "network_fits", return_value=False):
            trainer.train_step()
        trainer.supply.close()
    return counter.get_total_flops()


def measure_step(config: Config, warmup: int, steps: int) -> StepCost:
    """Median seconds of a step, and mean seconds of its phases, of one engine."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(config, Path(folder))
        wait = waiting(trainer.synced.device)
        if trainer.synced.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(trainer.synced.device)
        for _ in range(warmup):
            trainer.train_step()
        seconds = one_by_one = median_seconds(trainer.train_step, steps, wait)
        memory = peak_memory(trainer.synced.device)
        if trainer.recordings.recorder is not None:
            trainer.recordings.recorder = None
            one_by_one = median_seconds(trainer.train_step, steps, wait)
        with timed_phases(PHASES, wait) as phases:
            for _ in range(steps):
                trainer.train_step()
        trainer.supply.close()
        # A parameter is read, its gradient written; Adam reads both and two moments, and writes all but the gradient.
        state = 9 * sum(item.numel() * item.element_size() for item in trainer.work.trained)
    return StepCost(seconds, one_by_one, {name: total / steps for name, total in phases.items()}, memory, state)


def lookup_lines(device: torch.device, rates: Rates, small: bool) -> list[str]:
    """The fused plane lookup against one ``grid_sample`` per plane, forward and backward."""
    points, resolutions, channels = (64 * 8, [8, 16], 8) if small else (4096 * 48, [64, 128, 256, 512], 32)
    torch.manual_seed(0)
    grid = PlaneGrid(resolutions, 30, channels).to(device)
    planes = [plane.detach().requires_grad_() for plane in grid.planes]
    coordinates = (2 * torch.rand(points, 4, device=device) - 1).requires_grad_()
    upstream = torch.rand(points, len(resolutions) * channels, device=device)

    def seconds(lookup: Callable) -> float:
        def once() -> None:
            torch.autograd.grad(lookup(coordinates, planes), [coordinates, *planes], upstream)

        once()
        return median_seconds(once, 3 if device.type == "cpu" else 20, waiting(device))

    separate = seconds(plane_features_torch)
    fused = seconds(lambda *a: plane_features(*a, engine="triton"))
    # Four corners of six planes: read forward, read again and added to (read and written) backward.
    moved = 4 * 4 * len(planes) * points * channels * 4
    return [
        f"plane lookup, {points} points, {len(resolutions)} scales, {channels} features, forward and backward:",
        f"grid_sample {1e3 * separate:.2f} ms, fused {1e3 * fused:.2f} ms ({separate / fused:.1f} times faster; "
        f"corners move {moved / 1e9:.2f} GB, much of it in caches: {moved / fused / rates.copied_bytes:.1f} times the "
        "copy rate)",
    ]
