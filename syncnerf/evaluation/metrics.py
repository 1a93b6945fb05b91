"""Image metrics of one frame: PSNR, SSIM, DSSIM and, where its weights are at hand, LPIPS."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import Float
from kornia.metrics import ssim as ssim_map
from torch import Tensor

SSIM_WINDOW = 11
"""Pixels per side of the Gaussian window (sigma 1.5) of Wang et al., IEEE TIP 2004."""

SMALLEST_ERROR = 1e-10
"""Mean squared error below which the PSNR no longer rises (100 dB), so that a perfect image has a finite score."""

LPIPS_BACKBONES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}
"""File names under which torchvision keeps the ImageNet weights that LPIPS builds upon."""


def psnr(rendering: Float[Tensor, "*shape"], truth: Float[Tensor, "*shape"]) -> float:
    """Peak signal-to-noise ratio in dB of colours in [0, 1], any shape; at most 100."""
    return psnr_of((rendering.double() - truth.double()).square().mean().item())


def psnr_of(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio in dB for a mean squared error; at most 100."""
    return -10.0 * math.log10(max(mean_squared_error, SMALLEST_ERROR))


def ssim(rendering: Float[Tensor, "H W 3"], truth: Float[Tensor, "H W 3"]) -> float | None:
    """Structural similarity (Wang et al., IEEE TIP 2004), mean over channels and over windows inside the image.

    Args:
        rendering: colours in [0, 1], shape [H, W, 3].
        truth: likewise.

    Returns:
        The similarity, or None for an image smaller than one window of 11 x 11 pixels.
    """
    if min(truth.shape[:2]) < SSIM_WINDOW:
        return None
    pair = [image.permute(2, 0, 1)[None].double() for image in (rendering, truth)]
    # kornia adds ``eps`` to the denominator, which dark pictures would feel; the formula's constants keep it above 0.
    return ssim_map(*pair, SSIM_WINDOW, eps=0.0, padding="valid").mean().item()


def dssim(similarity: float | None) -> float | None:
    """Structural dissimilarity (1 - SSIM) / 2."""
    return None if similarity is None else (1.0 - similarity) / 2.0


def mean_of(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are known, or None if none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


class Lpips:
    """LPIPS (Zhang et al., CVPR 2018) with the AlexNet and the VGG backbone, where both code and weights are installed.

    Nothing is ever downloaded: a distance whose package or weights are absent is None, and ``missing`` says why.

    Args:
        device: where the networks run.
    """

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.missing: dict[str, str] = {}
        self._networks = {}
        for backbone, file_name in LPIPS_BACKBONES.items():
            reason = _missing_for(file_name)
            if reason:
                self.missing[f"lpips_{backbone}"] = reason
            else:
                package = importlib.import_module("lpips")
                self._networks[f"lpips_{backbone}"] = package.LPIPS(net=backbone, verbose=False).to(self.device).eval()

    @torch.no_grad()
    def __call__(self, rendering: Float[Tensor, "H W 3"], truth: Float[Tensor, "H W 3"]) -> dict[str, float | None]:
        """Distances by name, ``lpips_alex`` and ``lpips_vgg``, of colours in [0, 1], shape [H, W, 3].

        The networks see the range [-1, 1] for which LPIPS was calibrated.
        """
        pair = [image.permute(2, 0, 1)[None].float().to(self.device) * 2.0 - 1.0 for image in (rendering, truth)]
        distances: dict[str, float | None] = dict.fromkeys(self.missing)
        distances.update({name: network(*pair).item() for name, network in self._networks.items()})
        return distances


def _missing_for(file_name: str) -> str | None:
    """Why a backbone cannot be used, in one line; None if it can."""
    for package in ("lpips", "torchvision"):
        if importlib.util.find_spec(package) is None:
            return f"the package {package} is not installed"
    if not (Path(torch.hub.get_dir()) / "checkpoints" / file_name).is_file():
        return f"the backbone's weights {file_name} are not in torch's hub folder"
    return None
