"""A sample backend that draws whole views: soft balls that move, composited from near to far."""

from collections.abc import Sequence
from typing import Any

import torch
from blobs_spec import BlobsConfig
from torch import Tensor, nn

from syncnerf.backend import Backend, Execution, Replacement
from syncnerf.batch import Batch, ViewBatch
from syncnerf.questions import Rendering, ViewQuestion
from syncnerf.scene.geometry import SceneGeometry

LOOK_EVERY = 10


class BlobsBackend(Backend):
    """Balls of one colour each whose middles move along parabolas; what is faint is laid anew where errors are."""

    def __init__(self, config: BlobsConfig, geometry: SceneGeometry, execution: Execution):
        super().__init__(execution)
        low, high = geometry.bounds.float()
        self.side = float((high - low).max()) / 2
        generator = torch.Generator().manual_seed(0)
        places = 0.5 * (low + high) + 0.8 * (high - low) * (torch.rand(config.blobs, 3, generator=generator) - 0.5)
        self.places = nn.Parameter(places)
        self.speeds = nn.Parameter(0.1 * torch.randn(config.blobs, 2, 3, generator=generator))
        self.sizes = nn.Parameter(torch.full((config.blobs,), config.blob_size).log())
        self.opacities = nn.Parameter(torch.zeros(config.blobs))
        self.colours = nn.Parameter(torch.randn(config.blobs, 3, generator=generator))
        self.register_buffer("background", torch.tensor(geometry.background or (0.0, 0.0, 0.0)), persistent=False)
        self.register_buffer("pull", torch.zeros(config.blobs), persistent=False)
        self.register_buffer("pulls", torch.zeros(config.blobs))

    def render_views(self, question: ViewQuestion, generator: torch.Generator | None = None) -> Rendering:
        """Every blob over every pixel, each row at its own time; see :meth:`syncnerf.backend.Backend.render_views`."""
        views, times = question.views, question.row_times().float()
        rays = views.rays()
        shape = (len(views), views.height, views.width)
        directions = rays.directions.reshape(*shape, 1, 3)
        t = times[:, :, None, None, None]
        middles = self.places + t * self.speeds[:, 0] + t.square() * self.speeds[:, 1]
        toward = middles - rays.origins.float().reshape(*shape, 1, 3)
        along = (toward * directions).sum(-1)
        aside = (toward - along[..., None] * directions).square().sum(-1)
        radius = self.side * self.sizes.exp()
        alpha = self.opacities.sigmoid() * torch.exp(-0.5 * aside / radius.square())
        order = along.detach().argsort(dim=-1)
        alpha, along = alpha.gather(-1, order), along.gather(-1, order)
        light = torch.cumprod(torch.cat([torch.ones_like(alpha[..., :1]), 1 - alpha], dim=-1), dim=-1)
        weights = light[..., :-1] * alpha
        rgb = (weights[..., None] * self.colours.sigmoid()[order]).sum(-2) + light[..., -1:] * self.background
        depth = (weights * along).sum(-1) + light[..., -1] * views.far
        return Rendering(rgb, depth, weights.sum(-1))

    def losses(self, rendering: Rendering, batch: ViewBatch, step: int) -> dict[str, Tensor]:
        """The photometric loss."""
        return {"photometric": (rendering.rgb - batch.rgb).square().mean()}

    def param_groups(self, base_lr: float) -> list[dict[str, Any]]:
        """Places with a schedule of their own, the others with the training's."""
        others = [self.speeds, self.sizes, self.opacities, self.colours]
        return [
            {"name": "places", "params": [self.places], "lr": base_lr, "schedule": lambda step: 0.99**step},
            {"name": "others", "params": others, "lr": base_lr},
        ]

    def after_backward(self, rendering: Rendering, batch: Batch, step: int) -> Sequence[Tensor]:
        """How strongly each blob is pulled, to be summed over all processes."""
        self.pull.copy_(self.places.grad.norm(dim=-1))
        return [self.pull]

    def after_step(self, step: int) -> Sequence[Replacement]:
        """Now and then the faintest blob goes where the one is that is pulled most."""
        self.pulls += self.pull
        if step % LOOK_EVERY != LOOK_EVERY - 1:
            return ()
        faint, pulled = int(self.opacities.argmin()), int(self.pulls.argmax())
        rows = torch.arange(len(self.places))
        rows[faint] = -1
        with torch.no_grad():
            for parameter in self.parameters():
                parameter[faint] = parameter[pulled]
            self.pulls.zero_()
        return [Replacement(parameter, parameter, rows) for parameter in self.parameters()]
