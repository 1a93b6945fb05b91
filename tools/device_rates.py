"""What a device does at best, and the clock and the gauge that it is measured by."""

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Rates:
    """What the device does at best, measured: bytes copied (read and written) and products added, per second."""

    copied_bytes: float
    matrix_flops: float


def measure_rates(device: torch.device, small: bool) -> Rates:
    """Copy bandwidth and 32-bit matrix rate of the device, the best of several tries."""
    numbers, side = (2**18, 128) if small else (2**26, 2048 if device.type == "cpu" else 8192)
    source, target = torch.rand(numbers, device=device), torch.empty(numbers, device=device)
    matrix = torch.rand(side, side, device=device)
    wait = waiting(device)
    copying = min(timed(lambda: target.copy_(source), wait) for _ in range(5))
    multiplying = min(timed(lambda: matrix @ matrix, wait) for _ in range(5))
    return Rates(2 * 4 * numbers / copying, 2 * side**3 / multiplying)


def timed(work: Callable[[], object], wait: Callable[[], None]) -> float:
    """Seconds that a piece of work takes until the device has done it."""
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def median_seconds(work: Callable[[], object], count: int, wait: Callable[[], None]) -> float:
    """Median seconds of several repetitions."""
    return statistics.median(timed(work, wait) for _ in range(count))


def waiting(device: torch.device) -> Callable[[], None]:
    """What returns when a device has done all that it was told."""
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)


def peak_memory(device: torch.device) -> int:
    """Most bytes allocated on a GPU; on a CPU the most that the process has held so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def device_name(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
