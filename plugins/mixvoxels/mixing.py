"""Where static and dynamic field meet: one rendering for each ray that never changes, T for each of the others."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from syncnerf.rendering.starting import near_factors, scale_gradient
from syncnerf_mixvoxels.field import DynamicField, StaticField
from syncnerf_mixvoxels.moment_cells import MOVING, STILL
from syncnerf_mixvoxels.pair_products import Pairs
from syncnerf_mixvoxels.series import PackedSamples
from syncnerf_mixvoxels.time_query import TimeSeries


@dataclass
class Mixture:
    """What N rays look like.

    Attributes:
        static_rgb: colours of the static field alone, shape [N, 3].
        static_weights: of its samples, shape [M].
        rgb: colours, shape [N, T, 3].
        dynamic_rgb: what the dynamic field adds to them, before the background, the same shape.
        accumulation: opacity, shape [N, T].
        dynamic_accumulation: the dynamic field's part of it, shape [N, T].
        depth: expected distance of what is opaque, shape [N, T].
        dynamic_samples: number of samples at which the dynamic field was asked.
    """

    static_rgb: Float[Tensor, "N 3"]
    static_weights: Float[Tensor, " M"]
    rgb: Float[Tensor, "N T 3"]
    dynamic_rgb: Float[Tensor, "N T 3"]
    accumulation: Float[Tensor, "N T"]
    dynamic_accumulation: Float[Tensor, "N T"]
    depth: Float[Tensor, "N T"]
    dynamic_samples: int


class Mixer:
    """Renders samples of both fields.

    Args:
        static: answers for samples that never change; the moments of other samples send it no gradient.
        dynamic: answers for those that do, at all moments at once.
        background: colours behind everything, shape [N, 3].
        colour_threshold: at moments at which its weight is less, a sample has no colour.
        near_radius: distance from a camera below which samples' gradients are scaled down; 0 for none.
        contents: what samples may hold at their rays' moments, [M, T], of :mod:`syncnerf_mixvoxels.moment_cells`; None
            for anything at any time.
    """

    def __init__(
        self, static: StaticField, dynamic: DynamicField, background: Float[Tensor, "*N 3"], colour_threshold: float,
        near_radius: float = 0.0, contents: Callable[[PackedSamples], UInt8[Tensor, "M T"] | None] = lambda _: None,
    ):  # fmt: skip
        self.static, self.dynamic, self.background = static, dynamic, background
        self.threshold, self.near_radius, self.contents = colour_threshold, near_radius, contents

    def __call__(
        self, samples: PackedSamples, directions: Float[Tensor, "N 3"], series: TimeSeries, moves: Bool[Tensor, " M"]
    ) -> Mixture:
        """Render.

        Args:
            samples: of N rays.
            directions: unit directions, shape [N, 3].
            series: the rays' moments.
            moves: samples that the dynamic field answers for, bool, shape [M].
        """
        static_density = self._damped(self.static.density(samples.points), samples)
        static_weights = samples.weights(static_density[:, None])[:, 0]
        chosen_rays = torch.zeros(len(directions), dtype=torch.bool, device=moves.device)
        chosen_rays[samples.rays[moves]] = True
        places = chosen_rays[samples.rays].nonzero()[:, 0]
        part, part_moves = samples[places], moves[places]
        density = static_density.detach().index_select(0, places)[:, None].expand(-1, series.length)
        density, asked_then = self._changing(part, part_moves.nonzero()[:, 0], density, series)
        weights = part.weights(density)
        seen_then = weights.detach() > self.threshold
        still_then, moving_then = seen_then & ~asked_then, seen_then & asked_then

        seen = static_weights.detach() > self.threshold
        seen[places] |= still_then.any(dim=1)
        colours = self._static_colours(samples, directions, seen)
        static_rgb = samples.add_up(static_weights[:, None] * colours)
        static_sum = samples.add_up(static_weights)
        static_depth = samples.add_up(static_weights * samples.distances)

        still = still_then.any(dim=1).nonzero()[:, 0]
        shown, pairs = part[still], Pairs.where(still_then[still])
        behind = colours.detach().index_select(0, places[still]).index_select(0, pairs.points)
        still_rgb, _ = shown_at(shown, pairs, weights.index_select(0, still), behind)
        dynamic_rgb, dynamic_accumulation = self._dynamic(part, weights, moving_then, directions, series)
        rays = chosen_rays.nonzero()[:, 0]

        def at_all_moments(
            constant: Float[Tensor, " N *C"], changing: Float[Tensor, "N T *C"]
        ) -> Float[Tensor, "N T *C"]:
            everywhere = constant[:, None].expand(-1, series.length, *constant.shape[1:])
            return everywhere.index_copy(0, rays, changing.index_select(0, rays))

        accumulation = at_all_moments(static_sum, part.add_up(weights))
        rgb = at_all_moments(static_rgb, dynamic_rgb + still_rgb)
        return Mixture(
            static_rgb=static_rgb + (1.0 - static_sum)[:, None] * self.background,
            static_weights=static_weights,
            rgb=rgb + (1.0 - accumulation)[..., None] * self.background[:, None],
            dynamic_rgb=dynamic_rgb,
            accumulation=accumulation,
            dynamic_accumulation=dynamic_accumulation,
            depth=at_all_moments(static_depth, part.add_up(weights * part.distances[:, None])),
            dynamic_samples=int(part_moves.sum()),
        )

    def _changing(
        self, samples: PackedSamples, moving: Int64[Tensor, " K"], still: Float[Tensor, "M T"], series: TimeSeries
    ) -> tuple[Float[Tensor, "M T"], Bool[Tensor, "M T"]]:
        """Densities [M, T] of samples, of which some may move, and when the dynamic field answers for them [M, T].

        Args:
            samples: M of them.
            moving: those that may move.
            still: densities of the static field.
            series: the rays' moments.
        """
        asked, answers = samples[moving], torch.zeros_like(still, dtype=torch.bool)
        contents = self.contents(asked)
        if contents is None:
            density = self._damped(self.dynamic.density(asked.points, asked.rays, series), asked)
            return still.index_copy(0, moving, density), answers.index_fill(0, moving, True)
        may_move = contents == MOVING
        places = may_move.any(dim=1).nonzero()[:, 0]
        asked, then = asked[places], may_move[places]
        density = self._damped(self.dynamic.density(asked.points, asked.rays, series, then), asked)
        beside = still.index_select(0, moving) * (contents == STILL)
        found = beside.index_add(0, places, density)
        return still.index_copy(0, moving, found), answers.index_copy(0, moving, may_move)

    def _dynamic(
        self,
        samples: PackedSamples,
        weights: Float[Tensor, "M T"],
        moving_then: Bool[Tensor, "M T"],
        directions: Float[Tensor, "N 3"],
        series: TimeSeries,
    ) -> tuple[Float[Tensor, "N T 3"], Float[Tensor, "N T"]]:
        """Colours [N, T, 3] and opacities [N, T] of what moves.

        Args:
            samples: M of N rays.
            weights: of the samples at all moments.
            moving_then: at which of them the dynamic field's colour of a sample is seen.
            directions: of the rays.
            series: the rays' moments.
        """
        moving = moving_then.any(dim=1).nonzero()[:, 0]
        asked, pairs = samples[moving], Pairs.where(moving_then[moving])
        view = directions.index_select(0, asked.rays)
        colours = self.dynamic.colour(asked.points, view, asked.rays, series, pairs)
        factors = near_factors(asked.distances, self.near_radius)
        colours = scale_gradient(colours, None if factors is None else factors.index_select(0, pairs.points))
        return shown_at(asked, pairs, weights.index_select(0, moving), colours)

    def _static_colours(self, samples: PackedSamples, directions: Tensor, seen: Tensor) -> Tensor:
        """Colours of the static field [M, 3]; zero where a sample is not seen."""
        places = seen.nonzero()[:, 0]
        part = samples[places]
        colours = self._damped(self.static.colour(part.points, directions.index_select(0, part.rays)), part)
        return colours.new_zeros(len(samples), 3).index_copy(0, places, colours)

    def _damped(self, values: Tensor, samples: PackedSamples) -> Tensor:
        """Values [M, ...] of samples, the gradients of those near a camera scaled down."""
        return scale_gradient(values, near_factors(samples.distances, self.near_radius))


def shown_at(
    samples: PackedSamples, pairs: Pairs, weights: Float[Tensor, "M T"], colours: Float[Tensor, "P 3"]
) -> tuple[Float[Tensor, "N T 3"], Float[Tensor, "N T"]]:
    """What samples with weights [M, T] add to their rays at chosen pairs of a sample and a moment.

    Args:
        samples: M of N rays.
        pairs: of a sample and a moment.
        weights: of the samples at all moments.
        colours: of the pairs.

    Returns:
        Colours [N, T, 3] and opacities [N, T].
    """
    chosen = weights.reshape(-1).index_select(0, pairs.flat())
    place, count = pairs.flat(samples.rays), samples.ray_count
    rgb = weights.new_zeros(count * pairs.length, 3).index_add(0, place, chosen[:, None] * colours)
    opacity = weights.new_zeros(count * pairs.length).index_add(0, place, chosen)
    return rgb.reshape(count, pairs.length, 3), opacity.reshape(count, pairs.length)
