"""The K-Planes backend: rays and times in, pixels out."""

from typing import Any

import torch
from torch import Tensor

from syncnerf.backend import Backend, RayBatch, Rendering, SceneGeometry
from syncnerf.config import whole_numbers
from syncnerf.rendering.compositing import composite, render_weights
from syncnerf.rendering.occupancy import OccupancyGrid
from syncnerf.rendering.phases import phase
from syncnerf.rendering.ray_samples import RaySamples, clip_to_box, uniform_samples
from syncnerf.rendering.space import FieldSpace
from syncnerf.scene.rays import Rays
from syncnerf_kplanes.construction import make_field, make_proposals
from syncnerf_kplanes.field import DensityField
from syncnerf_kplanes.proposal import ProposalSampler, distortion_loss, histogram_loss
from syncnerf_kplanes.spec import KPlanesConfig

OPAQUE = 7.0
"""Optical depth at which a ray ends where no gradient is asked for: what lies behind adds less than a 1000th."""
STEPS_AT_ONCE = 16
"""Samples of a ray between looks at whether it has ended."""


class KPlanesBackend(Backend):
    """A field of planes or hash grids behind proposal networks or an occupancy grid.

    Scene time maps to the field's [-1, 1] so that the video covers [-time_span, time_span]; what offsets push beyond
    it finds the margins.
    """

    def __init__(self, config: KPlanesConfig, geometry: SceneGeometry):
        super().__init__()
        self.config, self.geometry = config, geometry
        self.space = FieldSpace(geometry)
        self.frame_length = 2 * config.time_span / max(geometry.frame_count - 1, 1)
        self.field = make_field(config, geometry)
        self.occupancy: OccupancyGrid | None = None
        self.proposal_fields = torch.nn.ModuleList()
        if config.sampler == "occupancy" or geometry.occupied is not None:
            time_bins = config.occupancy_times if config.sampler == "occupancy" else 1
            self.occupancy = OccupancyGrid(
                geometry.bounds.float(), config.occupancy_resolution, time_bins, geometry.occupied
            )
        if config.sampler == "proposal":
            self.sampler = ProposalSampler(
                whole_numbers(config, "proposal_samples"),
                config.field_samples,
                config.anneal_steps,
                config.proposal_warmup,
            )
            self.proposal_fields.extend(make_proposals(config, geometry))
        side = float((geometry.bounds[1] - geometry.bounds[0]).max())
        self.march_step = side / config.occupancy_steps

    # -- time and space ------------------------------------------------------------------------------------------

    def native_times(self, times: Tensor) -> Tensor:
        """Seconds to the field's time in [-1, 1]; float32, same shape, differentiable."""
        span = self.config.time_span
        return (2 * span * times / self.geometry.duration - span).float()

    def seconds(self, native: Tensor) -> Tensor:
        """The inverse of :meth:`native_times`."""
        span = self.config.time_span
        return (native.double() + span) * self.geometry.duration / (2 * span)

    # -- rendering -----------------------------------------------------------------------------------------------

    def render(self, rays: Rays, times: Tensor, generator: torch.Generator | None = None) -> Rendering:
        """Render N rays at one time each; see :meth:`syncnerf.backend.Backend.render`."""
        native = self.native_times(times)
        warped = self.space.warp(rays)
        with phase("sampling"):
            samples, levels = self._sample(warped, native, generator)
        with phase("field"):
            rgb, depth, weights = self._shade(rays, warped, native, samples)
        extras: dict[str, Any] = {"samples": samples, "weights": weights, "levels": levels}
        if self.decompose:
            extras["static_rgb"] = self._shade(rays, warped, native, samples, static=True)[0]
            extras["dynamic_rgb"] = (self._background(rgb) + rgb - extras["static_rgb"]).clamp(0.0, 1.0)
        return Rendering(rgb, depth, weights.sum(dim=-1), extras)

    def _sample(self, rays: Rays, native: Tensor, generator: torch.Generator | None):
        if self.config.sampler == "occupancy":
            return self.occupancy.march(rays, native, self.march_step, generator), []
        near, far = rays.near, rays.far
        unbounded = self.geometry.contraction
        if not unbounded and self.geometry.ndc is None:
            near, far = clip_to_box(rays, self.space.bounds if self.occupancy is None else self.occupancy.box)
        first = uniform_samples(
            near, far, whole_numbers(self.config, "proposal_samples")[0], generator, disparity=unbounded
        )

        def densities(field: DensityField):
            def of(samples: RaySamples) -> Tensor:
                points, at = self._points(rays, native, samples)
                return field(points, at).reshape(samples.middles.shape)

            return of

        samples, levels = self.sampler(first, [densities(field) for field in self.proposal_fields], generator)
        if self.occupancy is not None:
            points = rays.origins[:, None] + samples.middles[..., None] * rays.directions[:, None]
            samples.inside = self.occupancy.contains(points, native[:, None])
        return samples, levels

    def _points(self, rays: Rays, native: Tensor, samples: RaySamples) -> tuple[Tensor, Tensor]:
        """Field coordinates and times of the samples that may hold something, [M, 3] and [M]."""
        middles = samples.middles
        if samples.inside is None:
            points = rays.origins[:, None] + middles[..., None] * rays.directions[:, None]
            return self.space.normalize(points.reshape(-1, 3)), native[:, None].expand(middles.shape).reshape(-1)
        ray = samples.inside.nonzero()[:, 0]
        points = rays.origins[ray] + middles[samples.inside][:, None] * rays.directions[ray]
        return self.space.normalize(points), native.index_select(0, ray)

    def _shade(self, rays: Rays, warped: Rays, native: Tensor, samples: RaySamples, static: bool = False):
        """Colours [N, 3], depths [N] and weights [N, S] of the samples."""
        middles = samples.middles
        if torch.is_grad_enabled():
            flat, dense, geometry = self._densities(warped, native, samples, static)
        else:
            flat, dense, geometry = self._visible_densities(warped, native, samples, static)
        weights = render_weights(dense, samples.lengths)
        seen = (weights.detach().reshape(-1)[flat] > self.config.colour_threshold).nonzero()[:, 0]
        ray = flat[seen] // middles.shape[1]
        colours = self.field.colour(geometry.index_select(0, seen), rays.directions, ray)
        weighted = weights.reshape(-1).index_select(0, flat[seen])[:, None] * colours
        rgb = torch.zeros(len(rays), 3, device=middles.device).index_add(0, ray, weighted)
        opacity = weights.sum(dim=-1)
        rgb = rgb + (1.0 - opacity)[:, None] * self._background(rgb)
        depth = composite(weights, middles) + (1.0 - opacity) * warped.far
        return rgb, depth, weights

    def _densities(
        self, rays: Rays, native: Tensor, samples: RaySamples, static: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Places of the samples that may hold something in the flattened [N, S], densities [N, S], input of colours."""
        middles = samples.middles
        points, at = self._points(rays, native, samples)
        density, geometry = self.field.density(points, at, static)
        if samples.inside is None:
            return torch.arange(middles.numel(), device=middles.device), density.reshape(middles.shape), geometry
        flat = samples.inside.reshape(-1).nonzero()[:, 0]
        dense = torch.zeros_like(middles).reshape(-1).index_put((flat,), density).reshape(middles.shape)
        return flat, dense, geometry

    def _visible_densities(self, rays: Rays, native: Tensor, samples: RaySamples, static: bool):
        """The same from near to far in parts, each ray only up to where hardly any light comes from."""
        lengths = samples.lengths
        count = lengths.shape[1]
        rows = torch.arange(len(rays), device=lengths.device) * count
        depth = lengths.new_zeros(len(rays))
        flats, parts, geometries = [], [], []
        for start in range(0, count, STEPS_AT_ONCE):
            stop = min(start + STEPS_AT_ONCE, count)
            alive = (depth < OPAQUE)[:, None].expand(-1, stop - start)
            inside = alive if samples.inside is None else alive & samples.inside[:, start:stop]
            part = RaySamples(samples.edges[:, start : stop + 1], inside)
            flat, dense, geometry = self._densities(rays, native, part, static)
            depth = depth + (dense * lengths[:, start:stop]).sum(dim=-1)
            ray, step = flat // (stop - start), flat % (stop - start)
            flats.append(rows[ray] + start + step)
            parts.append(dense)
            geometries.append(geometry)
        return torch.cat(flats), torch.cat(parts, dim=1), torch.cat(geometries)

    def _background(self, like: Tensor) -> Tensor:
        return like.new_tensor(self.geometry.background or (0.0, 0.0, 0.0))

    # -- training ------------------------------------------------------------------------------------------------

    def losses(self, rendering: Rendering, batch: RayBatch, step: int) -> dict[str, Tensor]:
        """Photometric, histogram and feature losses, weighted (K-Planes, section 3.4 and appendix)."""
        config, extras = self.config, rendering.extras
        terms = {"photometric": (rendering.rgb - batch.rgb).square().mean()}
        samples, weights = extras["samples"], extras["weights"]
        if extras["levels"] and self.sampler.trains:
            terms["histogram"] = config.histogram_weight * sum(
                histogram_loss(samples, weights, *level) for level in extras["levels"]
            )
        if config.distortion_weight:
            terms["distortion"] = config.distortion_weight * distortion_loss(samples, weights)
        if config.density_weight:
            terms["density"] = config.density_weight * (weights * (1.0 - weights)).sum(dim=-1).mean()
        if step % config.regularize_every == 0:
            terms.update(self._penalties())
        return terms

    def _penalties(self) -> dict[str, Tensor]:
        """Regularisers of the features, of those kinds that the field's features have."""
        config = self.config
        weights = {
            "total_variation": (config.tv_weight, config.proposal_tv_weight),
            "time_smoothness": (config.time_smoothness_weight, config.proposal_time_smoothness_weight),
            "static": (config.static_weight, config.proposal_static_weight),
            "decay": (config.decay_weight, config.proposal_decay_weight),
        }
        terms: dict[str, Tensor] = {}
        for features, role in [(self.field.features, 0), *((field.features, 1) for field in self.proposal_fields)]:
            for name, penalty in features.penalties().items():
                if weights[name][role]:
                    value = config.regularize_every * weights[name][role] * penalty()
                    terms[name] = terms[name] + value if name in terms else value
        return terms

    def param_groups(self, base_lr: float) -> list[dict[str, Any]]:
        """Features, decoder and proposal fields, all at the base learning rate."""
        groups = [
            {"name": "features", "params": list(self.field.features.parameters()), "lr": base_lr},
            {"name": "decoder", "params": list(self.field.decoder.parameters()), "lr": base_lr},
        ]
        if len(self.proposal_fields):
            groups.append({"name": "proposals", "params": list(self.proposal_fields.parameters()), "lr": base_lr})
        return groups

    def before_step(self, step: int) -> None:
        """Bring the proposals' annealing and the blur of time to a step."""
        if self.config.sampler == "proposal":
            self.sampler.before_step(step)
        if self.config.time_blur:
            left = 1.0 - step / max(self.config.time_blur_until * self.geometry.steps, 1)
            width = self.config.time_blur * max(left, 0.0) * self.frame_length
            for field in (self.field, *self.proposal_fields):
                field.features.set_blur(width)

    def after_step(self, step: int) -> bool:
        """Look at the occupied cells now and then."""
        config = self.config
        if config.sampler == "occupancy" and step >= config.occupancy_start and step % config.occupancy_every == 0:
            # Seeded by the step, so that a resumed run takes the same looks.
            generator = torch.Generator(self.space.bounds.device).manual_seed(step)
            threshold = config.occupancy_threshold / self.march_step
            self.occupancy.update(self._density, threshold, config.occupancy_decay, generator)
        return False

    def _density(self, points: Tensor, times: Tensor) -> Tensor:
        """Densities [M] at points [M, 3] in the units of the bounds and times [M] in [-1, 1], in parts."""
        parts = zip(points.split(65536), times.split(65536), strict=True)
        return torch.cat([self.field.density(self.space.normalize(part), at)[0] for part, at in parts])
