"""Gaussians at one moment, in the terms in which programs exchange them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor


@dataclass(frozen=True)
class Splats:
    """N Gaussians at one moment, float32.

    Attributes:
        means: centres, scene units, shape [N, 3].
        quaternions: rotations w x y z from the Gaussian's axes to the world's, of length 1, shape [N, 4].
        log_scales: logarithms of the standard deviations along its axes, shape [N, 3].
        opacity_logits: opacities before the logistic function, shape [N].
        harmonics: of the colours, of which each is 0.5 and their sum, shape [N, 1 | 4 | 9 | 16, 3]. Order and signs are
            those of :func:`syncnerf.encodings.spherical_harmonics.spherical_harmonics` and of 3D Gaussian Splatting.
    """

    means: Float32[Tensor, "N 3"]
    quaternions: Float32[Tensor, "N 4"]
    log_scales: Float32[Tensor, "N 3"]
    opacity_logits: Float32[Tensor, " N"]
    harmonics: Float32[Tensor, "N K 3"]

    def __len__(self) -> int:
        return len(self.means)

    def seen(self, least_opacity: float) -> Splats:
        """Those that are at least so opaque, and whose numbers are all finite."""
        parts = (self.means, self.quaternions, self.log_scales, self.harmonics.flatten(1))
        kept = torch.sigmoid(self.opacity_logits) >= least_opacity
        for part in parts:
            kept = kept & part.isfinite().all(dim=1)
        return Splats(
            self.means[kept], self.quaternions[kept], self.log_scales[kept], self.opacity_logits[kept],
            self.harmonics[kept],
        )  # fmt: skip

    def moved(self, by: Float[Tensor, " 3"]) -> Splats:
        """The same elsewhere, ``by`` so much (shape [3])."""
        means = (self.means.double() + by.double()).float()
        return Splats(means, self.quaternions, self.log_scales, self.opacity_logits, self.harmonics)


@runtime_checkable
class HasSplats(Protocol):
    """A backend that is made of Gaussians."""

    def splats(self, time: Float64[Tensor, ""]) -> Splats:
        """The Gaussians at a moment of the field's time (float64, no dimensions), in the world as the scene has it."""
