"""The K-Planes backend: rays and times in, pixels out."""

import logging
import math
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.profiler import record_function

from syncnerf.backend import Backend, Execution, Replacement
from syncnerf.batch import RayBatch
from syncnerf.compilation import compiled
from syncnerf.questions import RayQuestion, Rendering
from syncnerf.rendering.backdrop import Backdrop
from syncnerf.rendering.occupancy import OccupancyGrid
from syncnerf.rendering.overlooked import Overlooked
from syncnerf.rendering.ray_ends import fading
from syncnerf.rendering.ray_samples import RaySamples, uniform_samples
from syncnerf.rendering.selection import SampleBudget, Selection
from syncnerf.rendering.space import FieldSpace
from syncnerf.rendering.starting import (
    CLEAR_DEPTH,
    near_factors,
    near_radius,
    scale_gradient,
    starting_density,
)
from syncnerf.rendering.thinning import Thinned, thinning
from syncnerf.scene.geometry import SceneGeometry
from syncnerf.scene.rays import Rays, clip_to_box
from syncnerf_kplanes.construction import make_field, make_proposals
from syncnerf_kplanes.field import DensityField
from syncnerf_kplanes.losses import ends_loss, feature_penalties, ray_losses
from syncnerf_kplanes.proposal import ProposalResampler
from syncnerf_kplanes.shading import Shader, sample_points
from syncnerf_kplanes.spec import KPlanesConfig

logger = logging.getLogger(__name__)


class KPlanesBackend(Backend):
    """A field of planes or hash grids behind proposal networks or an occupancy grid.

    Its planes span times in [-1, 1]; a time beyond finds the nearest end.
    """

    def __init__(self, config: KPlanesConfig, geometry: SceneGeometry, execution: Execution):
        super().__init__(execution)
        self.config, self.geometry = config, geometry
        self.space = FieldSpace(geometry)
        self.overlooked = Overlooked(self.space.bounds, geometry.overlooked)
        self.backdrop = Backdrop(geometry.background)
        self.frame_length = 2.0 / max(geometry.frame_count - 1, 1)
        start = starting_density(geometry, self.space, config.decoder.initial_depth)
        self.near_radius = near_radius(geometry, config.shading.gradient_radius)
        self.field = make_field(config, geometry, start, execution.engine)
        self.occupancy: OccupancyGrid | None = None
        self.proposal_fields = torch.nn.ModuleList()
        if config.sampler == "occupancy" or geometry.occupied is not None:
            time_bins = config.occupancy.occupancy_times if config.sampler == "occupancy" else 1
            resolution = config.occupancy.occupancy_resolution
            hull = geometry.occupied if geometry.occupied_at is None else geometry.occupied_at
            self.occupancy = OccupancyGrid(self.space.bounds, resolution, time_bins, hull)
        if config.sampler == "proposal":
            self.resampler = ProposalResampler(config.proposals)
            # Transparent even inside a hull: they should send samples everywhere at first.
            clear = starting_density(geometry, self.space, config.decoder.initial_depth or CLEAR_DEPTH)
            self.proposal_fields.extend(make_proposals(config, geometry, clear, execution.engine))
        self.march_step = 2.0 / config.occupancy.occupancy_steps
        diagonal = float((self.space.bounds[1] - self.space.bounds[0]).norm())
        self.march_count = math.ceil(diagonal / self.march_step)
        self.budget = SampleBudget()
        self._weighted_penalties = compiled(self._penalties, execution.compiled)

    # -- rendering -----------------------------------------------------------------------------------------------

    def render_rays(self, question: RayQuestion, generator: torch.Generator | None = None) -> Rendering:
        """Render N rays at one time each; see :meth:`syncnerf.backend.Backend.render_rays`."""
        rays, native = question.rays, question.times.float()
        warped = self.space.warp(rays)
        thinned = thinning(self.config.shading.gradient_thinning, generator)
        with record_function("sampling"):
            samples, levels = self._sample(warped, native, generator, thinned)
            if self.overlooked.known:
                seen = ~self.overlooked(samples.places(warped))
                samples.inside = seen if samples.inside is None else samples.inside & seen
        with record_function("field"):
            background = self.backdrop(rays.directions)
            asked = (rays, warped, native, samples, self._select(samples), background)
            threshold = self.config.shading.colour_threshold
            shader = Shader(self.field, self.space, threshold, self.near_radius, thinned)
            rgb, depth, weights = shader.shade(*asked)
        extras: dict[str, Any] = {"samples": samples, "weights": weights, "levels": levels}
        if question.wanted.parts:
            extras["static_rgb"] = shader.shade(*asked, static=True)[0]
            extras["dynamic_rgb"] = (background + rgb - extras["static_rgb"]).clamp(0.0, 1.0)
        return Rendering(rgb, self.space.unit * depth, weights.sum(dim=-1), extras)

    def _sample(self, rays: Rays, native: Tensor, generator: torch.Generator | None, thinned: Thinned):
        if self.config.sampler == "occupancy":
            count = self.march_count if self._fixed else None
            return self.occupancy.march(rays, native, self.march_step, generator, count), []
        near, far = rays.near, rays.far
        unbounded = self.geometry.contraction
        if not unbounded and self.geometry.ndc is None:
            near, far = clip_to_box(rays, self.space.bounds if self.occupancy is None else self.occupancy.box)
        first = uniform_samples(near, far, self.resampler.first_count, generator, disparity=unbounded)

        def densities(field: DensityField):
            def of(samples: RaySamples) -> Tensor:
                every = Selection(*samples.middles.shape)
                density = field(*sample_points(self.space, rays, native, samples, every), thinned)
                factors = near_factors(every.take(samples.middles), self.near_radius)
                return every.spread(scale_gradient(density, factors))

            return of

        samples, levels = self.resampler(first, [densities(field) for field in self.proposal_fields], generator)
        if self.occupancy is not None:
            samples.inside = self.occupancy.contains(samples.places(rays), native[:, None])
        return samples, levels

    @property
    def _fixed(self) -> bool:
        """Whether shapes must be known without looking at the numbers: in training, where the device wants that."""
        return self.training and self.execution.fixed_shapes

    def _select(self, samples: RaySamples) -> Selection | None:
        """Samples to ask the field at; None to find out while following the rays."""
        inside, shape = samples.inside, samples.middles.shape
        if not torch.is_grad_enabled():
            return None
        if self._fixed:
            if self.config.sampler == "occupancy":
                return self.budget.select(inside)
            # Proposals put most samples where something is: asking at all of them costs little.
            return Selection(*shape, mask=inside, fixed=True)
        return Selection(*shape) if inside is None else Selection.marked(inside)

    # -- training ------------------------------------------------------------------------------------------------

    def losses(self, rendering: Rendering, batch: RayBatch, step: int) -> dict[str, Float[Tensor, ""]]:
        """Photometric and histogram losses, weighted (K-Planes, section 3.4 and appendix)."""
        proposes = self.config.sampler == "proposal"
        # Steps through occupied cells end where the batch's longest ray does: not a measure of anything.
        longest = None if proposes else self.march_step * self.march_count
        config, trains_proposals = self.config.losses, proposes and self.resampler.trains
        terms = ray_losses(config, rendering, batch.rgb, trains_proposals, longest)
        if config.distance_weight and "distance" in batch.statistics:
            distances = batch.statistics["distance"] / self.space.unit
            weight = config.distance_weight * fading(step, self.geometry.steps)
            terms["distance"] = weight * ends_loss(rendering, distances, trains_proposals)
        return terms

    def penalties(self, step: int) -> dict[str, Float[Tensor, ""]]:
        """Regularisers of the features, weighted, of those kinds that the field's features have."""
        return {} if step % self.config.penalties.regularize_every else self._weighted_penalties()

    def _penalties(self) -> dict[str, Tensor]:
        proposals = [field.features for field in self.proposal_fields]
        return feature_penalties(self.config.penalties, self.field.features, proposals)

    def param_groups(self, base_lr: float) -> list[dict[str, Any]]:
        """Features, decoder, proposal fields and backdrop, all at the base learning rate."""
        groups = [
            {"name": "features", "params": list(self.field.features.parameters()), "lr": base_lr},
            {"name": "decoder", "params": list(self.field.decoder.parameters()), "lr": base_lr},
        ]
        if len(self.proposal_fields):
            groups.append({"name": "proposals", "params": list(self.proposal_fields.parameters()), "lr": base_lr})
        return groups + self.backdrop.param_groups(base_lr)

    def step_kind(self, step: int) -> Hashable | None:
        """See :meth:`syncnerf.backend.Backend.step_kind`; None where shapes depend on the numbers."""
        if not self._fixed:
            return None
        trains = self.config.sampler == "proposal" and self.resampler.trains
        blurs = tuple(field.features.blur_kind for field in (self.field, *self.proposal_fields))
        return trains, step % self.config.penalties.regularize_every == 0, blurs, self.budget.limit

    def before_step(self, step: int) -> None:
        """Bring the proposals' annealing and the blur of time to a step."""
        if self.config.sampler == "proposal":
            self.resampler.before_step(step)
        time = self.config.time
        if time.time_blur:
            left = 1.0 - step / max(time.time_blur_until * self.geometry.steps, 1)
            width = time.time_blur * max(left, 0.0) * self.frame_length
            for field in (self.field, *self.proposal_fields):
                field.features.set_blur(width)

    def after_step(self, step: int) -> Sequence[Replacement]:
        """Look at the occupied cells now and then."""
        config = self.config.occupancy
        if self.config.sampler != "occupancy" or step % config.occupancy_every:
            return ()
        if self._fixed and (missing := self.budget.adjust()):
            logger.info("up to %d samples of a step were left out; there is more room now", missing)
        if step >= config.occupancy_start:
            # Seeded by the step, so that a resumed run takes the same looks.
            generator = torch.Generator(self.space.bounds.device).manual_seed(step)
            threshold = config.occupancy_threshold / self.march_step
            self.occupancy.update(self._density, threshold, config.occupancy_decay, generator)
        return ()

    def _density(self, points: Tensor, times: Tensor) -> Tensor:
        """Densities [M] at points [M, 3] where samples are placed and times [M] in [-1, 1], in parts."""
        parts = zip(points.split(65536), times.split(65536), strict=True)
        return torch.cat([self.field.density(self.space.normalize(part), at)[0] for part, at in parts])
