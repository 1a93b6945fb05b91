"""Gaussians as ``.ply`` files, as 3D Gaussian Splatting (Kerbl et al., SIGGRAPH 2023) writes them and viewers read."""

from pathlib import Path

import numpy as np

from syncnerf.point_files import write_vertices
from syncnerf.splats import Splats

COEFFICIENTS = 16
"""Spherical harmonics of degree 0 to 3: viewers expect as many as this, so missing ones are written as 0."""


def write_ply(path: Path, splats: Splats) -> None:
    """Write Gaussians as a binary ``.ply``.

    Its attributes, all float32: ``x y z``; ``nx ny nz``, which are 0; ``f_dc_0 .. 2``, the harmonic of degree 0 of red,
    green, blue; ``f_rest_0 .. 44``, the others, all of red first; ``opacity`` before the logistic function;
    ``scale_0 .. 2``, logarithms; ``rot_0 .. 3``, a unit quaternion w x y z.
    """
    count = len(splats)
    harmonics = np.zeros((count, COEFFICIENTS, 3), dtype=np.float32)
    harmonics[:, : splats.harmonics.shape[1]] = splats.harmonics.numpy()
    rest = harmonics[:, 1:].transpose(0, 2, 1).reshape(count, -1)
    columns = {
        ("x", "y", "z"): splats.means.numpy(),
        ("nx", "ny", "nz"): np.zeros((count, 3), dtype=np.float32),
        tuple(f"f_dc_{k}" for k in range(3)): harmonics[:, 0],
        tuple(f"f_rest_{k}" for k in range(rest.shape[1])): rest,
        ("opacity",): splats.opacity_logits.numpy()[:, None],
        tuple(f"scale_{k}" for k in range(3)): splats.log_scales.numpy(),
        tuple(f"rot_{k}" for k in range(4)): splats.quaternions.numpy(),
    }
    names = [name for group in columns for name in group]
    table = np.concatenate(list(columns.values()), axis=1, dtype="<f4")
    write_vertices(path, table.view([(name, "<f4") for name in names])[:, 0])
