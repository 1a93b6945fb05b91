"""The Gaussians backend: whole views at their moments in, pictures out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from syncnerf.backend import Backend, Execution, Replacement
from syncnerf.batch import ViewBatch
from syncnerf.questions import RayQuestion, Rendering, ViewQuestion
from syncnerf.rendering.backdrop import Backdrop
from syncnerf.rendering.occupancy import OccupancyGrid
from syncnerf.rendering.overlooked import Overlooked
from syncnerf.scene.geometry import SceneGeometry
from syncnerf.splats import Splats
from syncnerf_gaussians.cloud import RESTING, Cloud
from syncnerf_gaussians.density import Attention, relocation
from syncnerf_gaussians.drawing import Drawing, seen
from syncnerf_gaussians.lives import Lives
from syncnerf_gaussians.losses import dissimilarity
from syncnerf_gaussians.motion import moved
from syncnerf_gaussians.pictures import as_views
from syncnerf_gaussians.scaffold import Scaffold
from syncnerf_gaussians.spec import GaussiansConfig
from syncnerf_gaussians.start import begin

HULL_CELLS = 64
"""Cells per side of the hull that Gaussians should lie in."""
USUAL_FRAMES = 80
"""Frames of a video, about, up to which the paths' learning rates hold. In a longer one each knot is in fewer of the
steps, and Adam, which divides by the root of the mean square over all of them, goes further in each of these by the
root of that: too far for what a single view tells of the motion."""
MOMENT_PAIRS = 4
"""Pairs of moments between which the scaffold's rigidity is measured at once."""


class GaussiansBackend(Backend):
    """Gaussians that rest or are carried by a scaffold's nodes, drawn by a rasteriser.

    What a Gaussian adds to pictures, and to how wrong they are, is looked at now and then; those that add nothing move
    to where pictures are wrong.
    """

    def __init__(self, config: GaussiansConfig, geometry: SceneGeometry, execution: Execution):
        super().__init__(execution)
        self.config, self.geometry = config, geometry
        self.half = 0.5 * float((geometry.bounds[1] - geometry.bounds[0]).max())
        cloud, frame_length = config.cloud, 2.0 / max(geometry.frame_count - 1, 1)
        lives, carried = Lives(cloud.gaussians, frame_length), config.motion == "scaffold"
        moments = config.scaffold.moments
        self.cloud = Cloud(cloud.gaussians, moments, cloud.harmonics_degree, cloud.shade_knots, lives, carried)
        self.scaffold: Scaffold | None = None
        if carried:
            levels, spacing = config.scaffold.knot_levels, config.scaffold.knot_spacing
            segments = max(1, round(geometry.frame_count / spacing / 2 ** (levels - 1)))
            self.scaffold = Scaffold(torch.zeros(config.scaffold.nodes, 3), segments, levels, 1.0)
        self.hull: OccupancyGrid | None = None
        if geometry.occupied is not None:
            # Grown by a cell: what is on the surface reaches beyond it.
            cells = torch.nn.functional.max_pool3d(geometry.occupied.float()[None], 3, stride=1, padding=1)[0] > 0
            self.hull = OccupancyGrid(geometry.bounds.float(), HULL_CELLS, 1, cells)
        self.overlooked = Overlooked(geometry.bounds.float(), geometry.overlooked)
        self.backdrop = Backdrop(geometry.background)
        self.attention = Attention(cloud.gaussians)
        self.seen_now: Tensor | None = None
        begin(self.cloud, self.scaffold, geometry, config.cloud)
        self.before_step(0)

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors) -> None:
        """Numbers of nodes and moments that do not exist would be read beyond the ends of tensors."""
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)
        nodes = 1 if self.scaffold is None else len(self.scaffold)
        limits = {
            "cloud.nodes": (RESTING, nodes),
            "cloud.moments": (0, len(self.cloud.rest_times)),
            "scaffold.neighbours": (0, nodes),
        }
        for name, (least, end) in limits.items():
            numbers = state_dict.get(prefix + name)
            if numbers is not None and bool(((numbers < least) | (numbers >= end)).any()):
                errors.append(f"{prefix}{name} holds numbers of what is not there")

    # -- rendering -----------------------------------------------------------------------------------------------

    @property
    def drawing(self) -> Drawing:
        """What answers of the Gaussians as they are now."""
        return Drawing(self.cloud, self.scaffold, self.backdrop, self.execution.engine)

    def render_views(self, question: ViewQuestion, generator: torch.Generator | None = None) -> Rendering:
        """Draw B views, or follow their rays where a lens bends them.

        The extra ``seen`` is a function of their pixels' errors, :func:`syncnerf_gaussians.drawing.seen`.
        """
        drawing = self.drawing
        if question.views.lens.is_ideal:
            return drawing.views(question)
        rendering = super().render_views(question, generator)
        each = [question[index : index + 1].through_rays() for index in range(len(question))]
        rendering.extras["seen"] = partial(seen, [(1, partial(drawing.influence_along, rays)) for rays in each])
        return rendering

    def render_rays(self, question: RayQuestion, generator: torch.Generator | None = None) -> Rendering:
        """Colours of N loose rays; quick where many share their origin and their time.

        Of rays that share both, one has all the gradient by their time.
        """
        return self.drawing.rays(question)

    def render_slopes(self, question: RayQuestion | ViewQuestion) -> Rendering:
        """Rays or views and their derivatives by time, forward through the rasteriser."""
        if isinstance(question, RayQuestion):
            return self.drawing.ray_slopes(question)
        if not question.views.lens.is_ideal:
            return as_views(self.drawing.ray_slopes(question.through_rays()), question.views)
        return self.drawing.view_slopes(question)

    def splats(self, time: Float64[Tensor, ""]) -> Splats:
        """The Gaussians at a moment of the field's time (float64, no dimensions), where their nodes carry them."""
        gaussians, motion = self.cloud.at(time[None], self.scaffold)
        now = moved(gaussians, motion)
        turns = torch.nn.functional.normalize(now.quaternions[0], dim=-1)
        opacities = torch.logit(now.opacities[0], eps=1e-6)
        return Splats(now.means[0], turns, gaussians.log_scales, opacities, gaussians.harmonics)

    # -- training ------------------------------------------------------------------------------------------------

    def losses(self, rendering: Rendering, batch: ViewBatch, step: int) -> dict[str, Float[Tensor, ""]]:
        """Absolute difference and structural dissimilarity, at the end squares alone: what PSNR counts."""
        config, difference = self.config.losses, rendering.rgb - batch.rgb
        if step >= config.squares_from * self.geometry.steps:
            return {"photometric": config.squares_weight * difference.square().mean()}
        terms = {"photometric": (1.0 - config.similarity_weight) * difference.abs().mean()}
        if config.similarity_weight:
            terms["similarity"] = config.similarity_weight * dissimilarity(rendering.rgb, batch.rgb)
        return terms

    def penalties(self, step: int) -> dict[str, Float[Tensor, ""]]:
        """What holds back the scaffold, now and then, and the Gaussians' opacities and sizes."""
        scaffold, losses, terms = self.config.scaffold, self.config.losses, {}
        if self.scaffold is not None and step % scaffold.regularize_every == 0:
            if scaffold.rigidity_weight:
                weight = scaffold.regularize_every * scaffold.rigidity_weight
                terms["rigidity"] = weight * self.scaffold.rigidity(*self._moments(step))
            if scaffold.acceleration_weight:
                weight = scaffold.regularize_every * scaffold.acceleration_weight
                terms["acceleration"] = weight * self.scaffold.acceleration()
        if losses.opacity_weight:
            terms["opacity"] = losses.opacity_weight * torch.sigmoid(self.cloud.opacity_logits).mean()
        if losses.scale_weight:
            terms["scale"] = losses.scale_weight * self.cloud.log_scales.exp().mean() / self.half
        return terms

    def _moments(self, step: int) -> tuple[Tensor, Tensor]:
        """Pairs of moments of a step, drawn by its number."""
        generator = torch.Generator().manual_seed(step)
        first, apart = torch.rand(2, MOMENT_PAIRS, generator=generator, dtype=torch.float64) * 2.0 - 1.0
        reach = self.config.scaffold.rigidity_reach * 2.0 / max(self.geometry.frame_count - 1, 1)
        device = self.cloud.means.device
        return first.to(device), (first + reach * apart).clamp(-1.0, 1.0).to(device)

    def param_groups(self, base_lr: float) -> list[dict[str, Any]]:
        """Each kind of parameter at its own multiple of the base learning rate."""
        cloud, rates = self.cloud, self.config.rates
        groups = {
            "means": ([cloud.means], rates.mean_rate * self.half),
            "quaternions": ([cloud.quaternions], rates.turn_rate),
            "scales": ([cloud.log_scales], rates.scale_rate),
            "opacities": ([cloud.opacity_logits], rates.opacity_rate),
            "colours": ([cloud.colours], rates.colour_rate),
            "sides": ([cloud.sides] if cloud.shades is None else [cloud.sides, cloud.shades], rates.side_rate),
        }
        if self.scaffold is not None:
            seldom = min(1.0, math.sqrt(USUAL_FRAMES / self.geometry.frame_count))
            groups |= {
                "skin": ([cloud.skin], rates.skin_rate),
                "paths": (list(self.scaffold.places), seldom * rates.path_rate * self.half),
                "node_turns": (list(self.scaffold.turns), seldom * rates.node_turn_rate),
            }
        own = [{"name": name, "params": params, "lr": base_lr * rate} for name, (params, rate) in groups.items()]
        own += cloud.lives.groups(base_lr * rates.mean_rate * self.half)
        return own + self.backdrop.param_groups(base_lr * rates.colour_rate)

    def before_step(self, step: int) -> None:
        """Let finer parts of the paths learn, one after the other."""
        config = self.config.scaffold
        if self.scaffold is None:
            return
        until = config.levels_until * self.geometry.steps
        share = 1.0 if step >= until else step / until
        self.scaffold.hold_levels(1 + math.floor(share * (config.knot_levels - 1)))

    def after_backward(self, rendering: Rendering, batch: ViewBatch, step: int) -> Sequence[Float[Tensor, "3 N"]]:
        """Look, now and then, at what each Gaussian adds to the batch's pictures and to their errors."""
        self.seen_now = None
        if step % self.config.density.look_every:
            return ()
        errors = (rendering.rgb - batch.rgb).detach().square().mean(dim=-1).sqrt()
        self.seen_now = rendering.extras["seen"](errors)
        return (self.seen_now,)

    def after_step(self, step: int) -> Sequence[Replacement]:
        """Take note of what was looked at, and relocate what shows nothing, or lies where nothing can be."""
        config, cloud = self.config.density, self.cloud
        if self.seen_now is not None:
            self.attention.sums += self.seen_now
        end = config.relocate_until * self.geometry.steps
        if (step + 1) % config.relocate_every or not config.relocate_start <= step < end:
            return ()
        idle = self.attention.idle(config.idle_share)
        idle |= torch.sigmoid(cloud.opacity_logits) < config.idle_opacity
        ever = torch.zeros_like(self.attention.sums[0])
        if self.hull is not None:
            idle |= ~self.hull.contains(cloud.means, ever)
        # Where hardly a camera looks, what rests is whatever its pictures lack, and hangs before all other lenses.
        idle |= cloud.rests & self.overlooked(cloud.means)
        # Seeded by the step, so that a resumed run takes the same draws.
        moving, joined = relocation(idle, self.attention.errors, torch.Generator().manual_seed(step))
        cloud.relocate(moving, joined)
        self.attention.moved(moving, joined)
        if self.scaffold is not None:
            self.scaffold.renew_neighbours()
        rows = torch.arange(len(cloud), device=moving.device)
        rows[moving], rows[joined] = -1, -1
        return [Replacement(parameter, parameter, rows) for parameter in cloud.rows()]
