"""Colours of cameras: how each one's white balance and exposure differ from the others'."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor, nn

from syncnerf.config import ColoursConfig
from syncnerf.questions import SHOWN_EXTRAS, Rendering


class CameraColours(nn.Module):
    """A gain and a bias for each camera and channel, between what a backend answers and what a camera recorded.

    Camera c shows ``gain_c * rgb + bias_c``. A change of all cameras alike belongs to the scene: the mean logarithm of
    the training cameras' gains, and the mean of their biases, are 0 whatever the parameters are. Other cameras show the
    scene's own colours until :meth:`set_camera` says otherwise. Off, every rendering is returned as it is.

    Args:
        config: mode, learning rate, weight of the prior.
        camera_count: C, test cameras included.
        untrained: global indices of the cameras that are not trained on.
        known: the scene was rendered in front of a known background, by cameras that are all alike: ``auto`` is off.
    """

    def __init__(self, config: ColoursConfig, camera_count: int, untrained: tuple[int, ...] = (), known: bool = False):
        super().__init__()
        self.config = config
        self.learned = config.camera_colours == "learn" or (config.camera_colours == "auto" and not known)
        if not self.learned:
            return
        trained = torch.ones(camera_count, dtype=torch.bool)
        trained[list(untrained)] = False
        self.register_buffer("is_trained", trained, persistent=False)
        self.log_gains = nn.Parameter(torch.zeros(camera_count, 3))
        self.biases = nn.Parameter(torch.zeros(camera_count, 3))

    def values(self) -> tuple[Float32[Tensor, "C 3"], Float32[Tensor, "C 3"]]:
        """Gains and biases of all cameras, float32, shape [C, 3] each; differentiable."""
        return self._centred(self.log_gains).exp(), self._centred(self.biases)

    def _centred(self, values: Tensor) -> Tensor:
        """The training cameras' values about their mean; the others' as they are."""
        return torch.where(self.is_trained[:, None], values - values[self.is_trained].mean(dim=0), values)

    def forward(self, cameras: Int64[Tensor, " B"], rendering: Rendering) -> Rendering:
        """What cameras (global indices, int64, shape [B]) would have recorded of a rendering of B rays or views."""
        if not self.learned:
            return rendering
        gains, biases = (table.index_select(0, cameras) for table in self.values())

        def shaped(table: Float[Tensor, "B 3"], like: Float[Tensor, "B *pixels 3"]) -> Float[Tensor, "B *ones 3"]:
            return table.reshape(len(table), *[1] * (like.ndim - 2), 3)

        def recorded(rgb: Float[Tensor, "B *pixels 3"]) -> Float[Tensor, "B *pixels 3"]:
            return rgb * shaped(gains, rgb) + shaped(biases, rgb)

        extras = {name: recorded(value) if name in SHOWN_EXTRAS else value for name, value in rendering.extras.items()}
        slopes = None if rendering.slopes is None else rendering.slopes * shaped(gains.detach(), rendering.slopes)
        return replace(rendering, rgb=recorded(rendering.rgb), slopes=slopes, extras=extras)

    def recorded(self, camera: int, rgb: Float[Tensor, "*pixels 3"]) -> Float[Tensor, "*pixels 3"]:
        """What a camera shows of colours [..., 3]; differentiable."""
        if not self.learned:
            return rgb
        gains, biases = self.values()
        return rgb * gains[camera] + biases[camera]

    @torch.no_grad()
    def set_camera(self, camera: int, gain: Float[Tensor, 3], bias: Float[Tensor, 3]) -> None:
        """Give an untrained camera its gain and bias, shape [3] each."""
        self.log_gains[camera] = gain.log().to(self.log_gains)
        self.biases[camera] = bias.to(self.biases)

    def forget(self, camera: int) -> None:
        """Give an untrained camera the scene's own colours again."""
        if self.learned:
            self.set_camera(camera, torch.ones(3), torch.zeros(3))

    def penalties(self) -> dict[str, Float[Tensor, ""]]:
        """The prior: weighted mean square of logarithms of gains and of biases, over the training cameras."""
        if not self.learned or not self.config.camera_colours_prior:
            return {}
        tables = torch.cat([self._centred(table)[self.is_trained] for table in (self.log_gains, self.biases)])
        return {"camera_colours": self.config.camera_colours_prior * tables.square().mean()}

    def param_groups(self) -> list[dict]:
        """One group for Adam; none where nothing is learned."""
        if not self.learned:
            return []
        return [
            {"name": "camera_colours", "params": [self.log_gains, self.biases], "lr": self.config.camera_colours_lr}
        ]


def fit_colours(
    rendered: Float[Tensor, "N 3"], recorded: Float[Tensor, "N 3"], ridge: float = 1e-3
) -> tuple[Float64[Tensor, 3], Float64[Tensor, 3]]:
    """Gain and bias of a camera by linear least squares, each channel for itself.

    Args:
        rendered: colours of the scene, shape [N, 3].
        recorded: what the camera shows of them, shape [N, 3].
        ridge: pull towards gain 1 and bias 0, as a share of the number of pixels times squared colour: decides only
            where the colours do not, as in a picture of one grey.

    Returns:
        Gain and bias, float64, shape [3] each; gains are at least 0.1.
    """
    rendered, recorded = rendered.double(), recorded.double()
    design = torch.stack([rendered, torch.ones_like(rendered)], dim=-1)  # [N, 3, 2]
    normal = torch.einsum("nci,ncj->cij", design, design) + ridge * len(rendered) * torch.eye(2).to(design)
    residual = torch.einsum("nci,nc->ci", design, recorded - rendered)
    change = torch.linalg.solve(normal, residual)
    return (1.0 + change[:, 0]).clamp_min(0.1), change[:, 1]
