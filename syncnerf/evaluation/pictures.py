"""Pictures for people: errors and depths in colour, and the PNG files of a test frame."""

from __future__ import annotations

import re
from pathlib import Path

import imageio.v3 as imageio
import matplotlib
import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.evaluation.shots import Picture
from syncnerf.evaluation.videos import to_uint8

ERROR_SCALE = 0.2
"""Absolute error of a colour in [0, 1], mean over channels, that is drawn in the brightest colour."""

PICTURE_KINDS = ("truth", "rendering", "error", "depth", "static", "dynamic")

PICTURE_NAME = re.compile(rf"test_(?P<camera>.+)_(?P<frame>\d+)_(?P<kind>{'|'.join(PICTURE_KINDS)})\.png")


def error_picture(rendering: Float[Tensor, "H W 3"], truth: Float[Tensor, "H W 3"]) -> Float[Tensor, "H W 3"]:
    """Absolute error in colour (black: none, pale yellow: 0.2 and more), colours in [0, 1], shape [H, W, 3]."""
    return _coloured((rendering - truth).abs().mean(-1) / ERROR_SCALE, "inferno")


def depth_picture(picture: Picture) -> Float[Tensor, "H W 3"]:
    """Depth in colour (blue: near, red: far), fading to white where nothing is, shape [H, W, 3].

    The colours span the 1st to the 99th percentile of the depths of opaque pixels.
    """
    solid = picture.depth[picture.accumulation > 0.5]
    # Quantiles of at most some hundred thousand numbers: torch refuses more than 2^24.
    solid = solid[:: max(1, len(solid) // 200_000)]
    near, far = torch.quantile(solid, torch.tensor([0.01, 0.99])) if len(solid) else (0.0, 1.0)
    colours = _coloured((picture.depth - near) / max(float(far - near), 1e-6), "turbo")
    opacity = picture.accumulation.clamp(0.0, 1.0)[..., None]
    return colours * opacity + (1.0 - opacity)


def write_pictures(folder: Path, camera: str, frame: int, picture: Picture, truth: Float[Tensor, "H W 3"]) -> None:
    """Write ``test_<camera>_<frame>_<kind>.png``: truth, rendering, error, depth, and static and dynamic where known.

    Args:
        folder: where the pictures go; made if need be.
        camera: the camera's name.
        frame: number of the frame.
        picture: its rendering.
        truth: the frame itself, colours in [0, 1], shape [H, W, 3].
    """
    images = {
        "truth": truth,
        "rendering": picture.rgb,
        "error": error_picture(picture.rgb, truth),
        "depth": depth_picture(picture),
        **{name.removesuffix("_rgb"): image for name, image in picture.extras.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for kind, image in images.items():
        imageio.imwrite(folder / f"test_{camera}_{frame:04d}_{kind}.png", to_uint8(image))


def remove_pictures(folder: Path, camera: str) -> None:
    """Remove a camera's pictures of an earlier evaluation, which may have shown other frames."""
    for path in folder.glob("test_*.png"):
        match = PICTURE_NAME.fullmatch(path.name)
        if match and match["camera"] == camera:
            path.unlink()


def _coloured(values: Tensor, colormap: str) -> Tensor:
    """Values in [0, 1] (clamped) through one of matplotlib's colour maps, float32, shape [..., 3]."""
    table = torch.tensor(matplotlib.colormaps[colormap].resampled(256)(range(256))[:, :3], dtype=torch.float32)
    return table[(values.nan_to_num().clamp(0.0, 1.0) * 255.0).round().long()]
