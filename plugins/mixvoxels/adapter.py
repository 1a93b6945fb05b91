"""The MixVoxels backend: rays and series of times in, pixels at all of them out."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.backend import Backend, Execution, Replacement
from syncnerf.batch import RayBatch
from syncnerf.questions import RayQuestion, Rendering
from syncnerf.rendering.backdrop import Backdrop
from syncnerf.rendering.occupancy import OccupancyGrid
from syncnerf.rendering.overlooked import Overlooked
from syncnerf.rendering.ray_ends import fading
from syncnerf.rendering.ray_samples import uniform_samples
from syncnerf.rendering.space import FieldSpace
from syncnerf.rendering.starting import near_radius, starting_density
from syncnerf.scene.geometry import SceneGeometry
from syncnerf.scene.rays import Rays
from syncnerf_mixvoxels.field import DynamicField, StaticField, VariationField
from syncnerf_mixvoxels.losses import ends_loss, grid_losses, series_losses
from syncnerf_mixvoxels.mixing import Mixer
from syncnerf_mixvoxels.moment_cells import MOVING, MomentCells
from syncnerf_mixvoxels.series import PackedSamples
from syncnerf_mixvoxels.spec import MixVoxelsConfig
from syncnerf_mixvoxels.time_query import TimeLatents, TimeSeries, TimeWaves, look_moments

POINTS_AT_ONCE = 16384
"""Points whose densities over time are computed at once when looking for empty space."""


class MixVoxelsBackend(Backend):
    """A static and a dynamic voxel field, and a variation field that chooses between them.

    The field's time [-1, 1] is [0, 1] of the time query's. Space that is empty at all times is masked out; where the
    variation field sees no change, the static field answers once for all moments.
    """

    times_at_once = 64

    def __init__(self, config: MixVoxelsConfig, geometry: SceneGeometry, execution: Execution):
        super().__init__(execution)
        self.config, self.geometry = config, geometry
        self.space = FieldSpace(geometry)
        self.overlooked = Overlooked(self.space.bounds, geometry.overlooked)
        self.register_buffer("box", torch.tensor([[-1.0] * 3, [1.0] * 3]))
        resolution = self._cells(config.grids.grid_resolution)
        start = starting_density(geometry, self.space, config.grids.initial_depth)
        self.static_field = StaticField(config.grids, resolution, start)
        self.dynamic_field = DynamicField(config.grids, resolution, start, config.query.query_width)
        self.variation = VariationField(config.grids, resolution)
        if config.field == "mixvoxels":
            self.query = TimeWaves(self._waves(), config.query.query_width)
        else:
            self.query = TimeLatents(geometry.frame_count, config.query.query_width)
        self.mask = OccupancyGrid(self.space.bounds, config.mask.mask_resolution, 1, geometry.occupied)
        self.moments: MomentCells | None = None
        if config.mask.mask_intervals > 1:
            mask = config.mask
            self.moments = MomentCells(
                mask.mask_resolution, mask.mask_intervals, geometry.occupied_at, geometry.moving_at
            )
        self.backdrop = Backdrop(geometry.background)
        self.before_step(0)

    def _waves(self) -> int:
        """Waves of the time query: by default the finest spans four frames."""
        return self.config.query.time_waves or max(1, round(self.geometry.frame_count / 2))

    # -- space ---------------------------------------------------------------------------------------------------

    def _sides(self) -> Tensor:
        """Sides of the grids' box in the units of the space where samples are placed, shape [3]."""
        return (self.space.bounds[1] - self.space.bounds[0]) * (self.box[1] - self.box[0]) / 2.0

    def _cells(self, side: int) -> list[int]:
        """Cells along x y z: equal sides, and as many in all as a cube of ``side`` has."""
        sides = self._sides()
        return [max(2, round(cells)) for cells in (side * sides / sides.prod() ** (1 / 3)).tolist()]

    def _in_box(self, points: Tensor) -> Tensor:
        """Points [M, 3] of the space where samples are placed to the grids' [-1, 1]^3."""
        return 2.0 * (self.space.normalize(points) - self.box[0]) / (self.box[1] - self.box[0]) - 1.0

    def _contents(self, points: Tensor, times: Tensor, rows: Tensor) -> Tensor | None:
        """What points [M, 3] of the grids may hold at times [N, T] of their rows [M], as MomentCells tell, [M, T].

        None for anything at any time.
        """
        if self.moments is None:
            return None
        places = self.box[0] + (points + 1.0) / 2.0 * (self.box[1] - self.box[0])
        return self.moments.at(places, times, rows)

    def _sample(self, rays: Rays, generator: torch.Generator | None) -> PackedSamples:
        """Samples of warped rays that may hold something."""
        steps = self.config.mask.ray_steps or 2 * self.resolution
        if self.geometry.contraction:
            samples = uniform_samples(rays.near, rays.far, steps, generator, disparity=True)
            inside = torch.ones_like(samples.middles, dtype=torch.bool)
        else:
            step = self._sides().max().item() / steps
            samples = self.mask.march(rays, torch.zeros_like(rays.near), step, generator)
            inside = samples.inside
        if self.overlooked.known:
            inside = inside & ~self.overlooked(samples.places(rays))
        ray = inside.nonzero()[:, 0]
        distances = samples.middles[inside]
        points = self._in_box(rays.origins[ray] + distances[:, None] * rays.directions[ray])
        return PackedSamples(ray, points, distances, samples.lengths[inside], len(rays))

    # -- rendering -----------------------------------------------------------------------------------------------

    def render_rays(self, question: RayQuestion, generator: torch.Generator | None = None) -> Rendering:
        """Render N rays at one time or at T times each; see :meth:`syncnerf.backend.Backend.render_rays`."""
        rays, times, wanted = question.rays, question.times, question.wanted
        warped = self.space.warp(rays)
        samples = self._sample(warped, generator)
        logits = self.variation(samples.points)
        # A ray without samples shows the background, which does not change.
        change = logits.new_full((len(rays),), -20.0).scatter_reduce(0, samples.rays, logits, "amax")
        moves = self._moves(samples, logits.detach().sigmoid(), change.detach().sigmoid())
        moments = times if times.ndim == 2 else times[:, None]
        series = TimeSeries(self.query, (1.0 + moments) / 2.0)
        background = self.backdrop(rays.directions)
        mixer = Mixer(
            self.static_field, self.dynamic_field, background, self.config.mixing.colour_threshold,
            near_radius(self.geometry, self.config.mixing.gradient_radius),
            lambda asked: self._contents(asked.points, moments, asked.rays),
        )  # fmt: skip
        mixture = mixer(samples, rays.directions, series, moves)
        far = (1.0 - mixture.accumulation) * warped.far[:, None]
        # Where nothing changes, the colours still are a (constant) function of the times.
        rgb = mixture.rgb + 0.0 * series.queries.sum()
        extras: dict[str, Any] = {
            "static_rgb": mixture.static_rgb, "change": change, "samples": len(samples), "packed": samples,
            "static_weights": mixture.static_weights, "dynamic_samples": mixture.dynamic_samples,
        }  # fmt: skip
        rendering = Rendering(rgb, self.space.unit * (mixture.depth + far), mixture.accumulation, extras)
        if wanted.parts:
            beside = (1.0 - mixture.dynamic_accumulation)[..., None] * background[:, None]
            extras["dynamic_rgb"] = mixture.dynamic_rgb + beside
        if times.ndim == 1:
            for name in ("rgb", "depth", "accumulation"):
                setattr(rendering, name, getattr(rendering, name)[:, 0])
            if wanted.parts:
                extras["dynamic_rgb"] = extras["dynamic_rgb"][:, 0]
        return rendering

    def _moves(self, samples: PackedSamples, chance: Tensor, ray_chance: Tensor) -> Tensor:
        """Samples that the dynamic field answers for: those that may change, on rays that do, bool [M]."""
        if self.still_only:
            return torch.zeros_like(chance, dtype=torch.bool)
        on_ray = (ray_chance >= self.config.mixing.ray_threshold).index_select(0, samples.rays)
        return on_ray & (chance >= self.config.mixing.point_threshold)

    # -- training ------------------------------------------------------------------------------------------------

    def losses(self, rendering: Rendering, batch: RayBatch, step: int) -> dict[str, Float[Tensor, ""]]:
        """Photometric loss, the static field's and the variation field's (MixVoxels, section 3.4)."""
        config, extras = self.config.losses, rendering.extras
        terms = series_losses(config, rendering, batch)
        if config.distance_weight and "distance" in batch.statistics:
            weight = config.distance_weight * fading(step, self.geometry.steps)
            distances = batch.statistics["distance"] / self.space.unit
            terms["distance"] = weight * ends_loss(extras["packed"], extras["static_weights"], distances)
        return terms

    def penalties(self, step: int) -> dict[str, Float[Tensor, ""]]:
        """Total variation and sparsity of the grids, weighted."""
        if step % self.config.penalties.regularize_every:
            return {}
        return grid_losses(self.config.penalties, self.static_field, self.dynamic_field, self.variation)

    def param_groups(self, base_lr: float) -> list[dict[str, Any]]:
        """Grids at the base learning rate, networks and the time query at shares of it."""
        grids, networks = [], []
        for name, parameter in self.named_parameters():
            if not name.startswith(("query.", "backdrop.")):
                (grids if "grid." in name else networks).append(parameter)
        network_lr = self.config.rates.network_lr * base_lr
        query_lr = self.config.rates.time_lr * network_lr
        return [
            {"name": "grids", "params": grids, "lr": base_lr},
            {"name": "networks", "params": networks, "lr": network_lr},
            {"name": "time_query", "params": list(self.query.parameters()), "lr": query_lr},
            *self.backdrop.param_groups(network_lr),
        ]

    def before_step(self, step: int) -> None:
        """Bring the pre-training, the waves of time and the resolution to a step."""
        query, last = self.config.query, self._waves()
        self.still_only = step < self.config.mixing.variation_steps
        self.resolution = self.config.grids.resolution(step - 1)
        first = query.time_waves_start or last
        done = min(step / max(query.time_waves_until * self.geometry.steps, 1), 1.0)
        # As many octaves with every step.
        self.query.set_sharpness(first * (last / first) ** done)

    def after_step(self, step: int) -> Sequence[Replacement]:
        """Look for empty space now and then, shrink the box to what is left, refine the grids."""
        mask, grids = self.config.mask, self.config.grids
        if step >= mask.mask_start and (step - mask.mask_start) % mask.mask_every == 0:
            self._look(step)
        if step == mask.shrink_step > 0 and not self.geometry.contraction:
            return self._shrink(grids.resolution(step))
        refines = grids.resolution(step) != grids.resolution(step - 1)
        return self._resample(grids.resolution(step)) if refines else ()

    def _look(self, step: int) -> None:
        # Seeded by the step, so that a resumed run takes the same looks.
        generator = torch.Generator(self.box.device).manual_seed(step)
        length = self._sides().max().item() / (self.config.mask.ray_steps or 2 * self.resolution)
        threshold = self.config.mask.mask_threshold / length
        moments = look_moments(self.config.mask.mask_times, generator)
        self.mask.update(
            lambda points, _: self._largest_density(points, moments), threshold, self.config.mask.mask_decay, generator
        )

    def _largest_density(self, points: Tensor, moments: Tensor) -> Tensor:
        """Largest density at points [M, 3] where samples are placed, over moments [T] in [0, 1], float64."""
        series = TimeSeries(self.query, moments[None])
        found = []
        for part in points.split(POINTS_AT_ONCE):
            inside = self._in_box(part)
            rays = torch.zeros_like(inside[:, 0], dtype=torch.int64)
            contents = self._contents(inside, 2.0 * moments[None] - 1.0, rays)
            possible = None if contents is None else contents == MOVING
            dynamic = self.dynamic_field.density(inside, rays, series, possible).amax(dim=1)
            moves = self.variation(inside).sigmoid() >= self.config.mixing.point_threshold
            static = self.static_field.density(inside)
            # Where nothing moves for a while, the static field is shown then.
            rest = dynamic if contents is None else torch.maximum(dynamic, static)
            density = torch.where(moves, rest, static)
            found.append(density * (inside.abs() <= 1.0).all(dim=-1))
        return torch.cat(found)

    def _resample(self, side: int, box: Tensor | None = None) -> list[Replacement]:
        """Give the grids other cells. Adam's moments of the old ones say nothing of these (TensoRF restarts it too)."""
        cells = self._cells(side)
        fields = (self.static_field, self.dynamic_field)
        grids = [grid for field in fields for grid in (field.density_grid, field.appearance_grid)]
        replaced = []
        for grid in (*grids, self.variation.grid):
            before = list(grid.parameters())
            grid.resample(cells, box)
            replaced += [Replacement(old, new) for old, new in zip(before, grid.parameters(), strict=True)]
        return replaced

    def _shrink(self, side: int) -> list[Replacement]:
        """Let the grids cover no more than the box of the cells that the mask has left."""
        left = self._in_box(self.mask.box).clamp(-1.0, 1.0)
        self.box = self.box[0] + (left + 1.0) / 2.0 * (self.box[1] - self.box[0])
        return self._resample(side, left)
