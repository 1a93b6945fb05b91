"""Planes of space and time with random numbers in them, and points to look them up at."""

import torch

from syncnerf_kplanes.plane_lookup import PAIRS

SIZES = [[(5, 5, 5, 4)], [(7, 4, 6, 9), (2, 13, 3, 2)], [(8, 8, 8, 5), (16, 16, 16, 5), (32, 32, 32, 5)]]
"""Cells along x y z t of each scale: one scale, odd ones, three."""


def random_planes(sizes: list[tuple[int, int, int, int]], channels: int, dtype=torch.float32) -> list[torch.Tensor]:
    """Planes of several scales; ``sizes`` are the cells along x y z t of each."""
    generator = torch.Generator().manual_seed(channels + len(sizes))
    return [
        torch.rand(size[second], size[first], channels, generator=generator, dtype=dtype) + 0.2
        for size in sizes
        for first, second in PAIRS
    ]


def random_points(count: int, reach: float, dtype=torch.float32) -> torch.Tensor:
    """Points and moments, each coordinate within a reach of 0, shape [count, 4]."""
    return reach * (2 * torch.rand(count, 4, generator=torch.Generator().manual_seed(count), dtype=dtype) - 1)
