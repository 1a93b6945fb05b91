"""From samples along rays to pixels: where the field is asked for density, where for colour, and the sums."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.rendering.compositing import composite, render_weights
from syncnerf.rendering.ray_samples import RaySamples
from syncnerf.rendering.selection import Selection
from syncnerf.rendering.space import FieldSpace
from syncnerf.rendering.starting import near_factors, scale_gradient
from syncnerf.rendering.thinning import Thinned, unthinned
from syncnerf.scene.rays import Rays
from syncnerf_kplanes.field import Field

OPAQUE = 7.0
"""Optical depth at which a ray ends where no gradient is asked for: what lies behind adds less than a 1000th."""
STEPS_AT_ONCE = 16
"""Samples of a ray between looks at whether it has ended."""


def sample_points(
    space: FieldSpace, rays: Rays, native: Float[Tensor, " N"], samples: RaySamples, selection: Selection
) -> tuple[Float[Tensor, "M 3"], Float[Tensor, " M"]]:
    """Field coordinates [M, 3] and times [M] of the selected samples of N rays at the times ``native`` [N]."""
    along = selection.take(samples.middles)[:, None] * selection.of_rays(rays.directions)
    return space.normalize(selection.of_rays(rays.origins) + along), selection.of_rays(native)


class Shader:
    """Asks a field along rays.

    Args:
        field: densities and colours.
        space: the field's coordinates.
        colour_threshold: samples of less weight have no colour.
        near_radius: distance below which samples' gradients are scaled down; 0 for none.
        thinned: thins the samples' gradients out.
    """

    def __init__(
        self,
        field: Field,
        space: FieldSpace,
        colour_threshold: float,
        near_radius: float = 0.0,
        thinned: Thinned = unthinned,
    ):
        self.field, self.space, self.colour_threshold = field, space, colour_threshold
        self.near_radius, self.thinned = near_radius, thinned

    def shade(
        self, rays: Rays, warped: Rays, native: Float[Tensor, " N"], samples: RaySamples, selection: Selection | None,
        background: Float[Tensor, "N 3"], static: bool = False,
    ) -> tuple[Float[Tensor, "N 3"], Float[Tensor, " N"], Float[Tensor, "N S"]]:  # fmt: skip
        """Colours [N, 3], depths [N] and weights [N, S].

        Args:
            rays: N rays in the world, for the colours' directions.
            warped: the same where the samples were placed.
            native: the rays' times in [-1, 1], shape [N].
            samples: S intervals a ray.
            selection: those that the field is asked at; None to choose while rays are followed, without gradients,
                and to end each ray where hardly any light comes from.
            background: colours behind the scene, shape [N, 3].
            static: the static part of the field alone.
        """
        fixed = selection is not None and selection.fixed
        if selection is None:
            selection, dense, geometry = self._follow(warped, native, samples, static)
        else:
            dense, geometry = self._densities(warped, native, samples, selection, static)
        weights = render_weights(dense, samples.lengths)
        taken = selection.take(weights)
        bright = taken.detach() > self.colour_threshold
        if fixed:
            taken = torch.where(bright, taken, 0.0)
        else:
            selection, places = selection.among(bright)
            geometry, taken = geometry.index_select(0, places), taken.index_select(0, places)
        colours = self.field.colour(geometry, rays.directions, selection, self.thinned)
        opacity = weights.sum(dim=-1)
        rgb = selection.sum_rays(taken[:, None] * colours) + (1.0 - opacity)[:, None] * background
        depth = composite(weights, samples.middles) + (1.0 - opacity) * warped.far
        return rgb, depth, weights

    def _densities(
        self, rays: Rays, native: Tensor, samples: RaySamples, selection: Selection, static: bool
    ) -> tuple[Tensor, Tensor]:
        """Densities [N, S], and what the colours of the selected samples need, [M, ...]."""
        asked = sample_points(self.space, rays, native, samples, selection)
        density, geometry = self.field.density(*asked, static, self.thinned)
        factors = near_factors(selection.take(samples.middles), self.near_radius)
        return selection.spread(scale_gradient(density, factors)), scale_gradient(geometry, factors)

    def _follow(self, rays: Rays, native: Tensor, samples: RaySamples, static: bool):
        """The same from near to far in parts, each ray only up to where hardly any light comes from; and where."""
        lengths = samples.lengths
        rays_count, count = lengths.shape
        depth = lengths.new_zeros(rays_count)
        flats, parts, geometries = [], [], []
        for start in range(0, count, STEPS_AT_ONCE):
            stop = min(start + STEPS_AT_ONCE, count)
            alive = (depth < OPAQUE)[:, None].expand(-1, stop - start)
            inside = alive if samples.inside is None else alive & samples.inside[:, start:stop]
            selection = Selection.marked(inside)
            part = RaySamples(samples.edges[:, start : stop + 1])
            dense, geometry = self._densities(rays, native, part, selection, static)
            depth = depth + (dense * lengths[:, start:stop]).sum(dim=-1)
            ray = selection.ray(lengths.device)
            flats.append(ray * count + start + selection.flat % (stop - start))
            parts.append(dense)
            geometries.append(geometry)
        return Selection(rays_count, count, torch.cat(flats)), torch.cat(parts, dim=1), torch.cat(geometries)
