"""Options of the MixVoxels backend, a dataclass per part; each is known to the code of that part alone."""

from dataclasses import dataclass

from syncnerf.errors import UserError
from syncnerf.option import (
    Range,
    check_values,
    colour_threshold_option,
    count,
    distance_weight_option,
    gradient_radius_option,
    option,
    share,
    weight,
    whole_numbers,
)


@dataclass(frozen=True)
class GridsConfig:
    """Sizes of the voxel grids, and the networks that read them."""

    grid_resolution: int = option(
        256,
        "cells per side of the grids at the start (of a cube with as many cells)",
        count(2, "interpolation takes two cells", 4096),
    )
    final_resolution: int = option(
        640, "the same after the last upsampling", count(2, "interpolation takes two cells", 4096)
    )
    upsample_steps: str = option(
        "3000,4000,5000,6500",
        "steps after which the grids grow, comma-separated; 0 for none",
        count(0, "steps of the training"),
    )
    density_ranks: str = option(
        "16,4,4",
        "ranks of the density grids (planes xy, xz, yz), multiples of 4 are fast",
        count(1, "grids have ranks", 1024),
    )
    appearance_ranks: str = option("48,12,12", "ranks of the appearance grids", count(1, "grids have ranks", 1024))
    variation_ranks: str = option("8,8,8", "ranks of the variation field", count(1, "grids have ranks", 1024))
    appearance_features: int = option(
        27, "features that appearance grids are reduced to", count(1, "colours are made of features", 1024)
    )
    hidden_width: int = option(128, "width of the networks' hidden layers", count(1, "a network has a width", 8192))
    initial_depth: float = option(
        0.0,
        "optical depth across the box at the start; 0 for 0.2, or 20 inside a visual hull where one is known",
        Range(0, 1e4, "optical depths are positive"),
    )
    density_scale: float = option(
        25.0,
        "factor on densities, in units of half the box's longest side",
        Range(0, 1e6, "densities are positive", above=True),
    )

    def __post_init__(self) -> None:
        check_values(self)
        for name in ("density_ranks", "appearance_ranks", "variation_ranks"):
            if len(whole_numbers(self, name)) != 3:
                raise UserError(f"{name} = {getattr(self, name)}: should be three whole numbers")
        if self.final_resolution < self.grid_resolution:
            raise UserError(f"final_resolution = {self.final_resolution}: should be at least grid_resolution")

    def resolution(self, step: int) -> int:
        """Cells per side (of a cube) after a step: grid_resolution to final_resolution, evenly in logarithm."""
        steps = [place for place in whole_numbers(self, "upsample_steps") if place > 0]
        done = sum(step >= place for place in steps)
        if not steps:
            return self.grid_resolution
        return round(self.grid_resolution * (self.final_resolution / self.grid_resolution) ** (done / len(steps)))


WAVES = {"field": ("mixvoxels",)}
"""Of which field an option is."""


@dataclass(frozen=True)
class QueryConfig:
    """The time query."""

    query_width: int = option(512, "width of the time query", count(1, "a network has a width", 8192))
    time_waves: int = option(
        0,
        "half waves over the video of which the query is made, 1 to so many; 0 for half as many as it has frames",
        count(0, "time is told by waves", 4096),
        WAVES,
    )
    time_waves_start: float = option(
        0.0,
        "waves let through at the start, of time_waves; 0 for all",
        Range(0, 4096, "as for time_waves"),
        WAVES,
    )
    time_waves_until: float = option(
        0.5, "share of the training at which all waves are let through", share(), WAVES
    )

    __post_init__ = check_values


@dataclass(frozen=True)
class MaskConfig:
    """Steps along rays, and the mask of space that is empty at all times."""

    ray_steps: int = option(
        0, "steps of a ray across the box's longest side; 0 for two per cell", count(0, "a ray takes steps", 16384)
    )
    mask_resolution: int = option(
        128, "cells per side of the mask of empty space", count(1, "a grid has cells, and all are held in memory", 512)
    )
    mask_start: int = option(3500, "step of the first look for empty space", count(0, "a step"))
    mask_every: int = option(500, "steps between looks for empty space", count(1, "a rhythm in steps"))
    mask_threshold: float = option(
        1e-4, "opacity of a step below which a cell counts as empty", share("opacities lie in [0, 1]")
    )
    mask_decay: float = option(
        0.9, "factor on a cell's remembered density at each look", share("what is remembered only fades")
    )
    mask_times: int = option(
        16,
        "moments, new ones in each look, at which the dynamic field is asked",
        count(1, "the dynamic field is asked at moments", 4096),
    )
    mask_intervals: int = option(
        1,
        "intervals of time in which space is carved beforehand, where background and clocks are known; 1 for none",
        count(1, "a grid has cells, and all are held in memory", 1024),
    )
    shrink_step: int = option(
        3500, "step after which the box shrinks to what the mask leaves; 0 for never", count(0, "a step")
    )

    __post_init__ = check_values


@dataclass(frozen=True)
class MixingConfig:
    """Which samples the dynamic field answers for, and from samples to pixels."""

    variation_steps: int = option(
        0, "first steps, which train the variation field and the static field alone", count(0, "a number of steps")
    )
    ray_threshold: float = option(
        0.9,
        "largest chance of change on a ray above which it is dynamic; 0 for all rays",
        share("chances lie in [0, 1]"),
    )
    point_threshold: float = option(
        0.01, "chance of change above which a point is dynamic; 0 for all points", share("chances lie in [0, 1]")
    )
    colour_threshold: float = colour_threshold_option(1e-4)
    gradient_radius: float = gradient_radius_option(-1.0)

    __post_init__ = check_values


@dataclass(frozen=True)
class LossesConfig:
    """What the variation field and the static field alone are trained with."""

    variation_weight: float = option(1.0, "weight of the variation field's loss", weight())
    variation_deviation: float = option(
        0.03,
        "standard deviation over time above which a pixel counts as changing",
        Range(0, 1, "colours lie in [0, 1]"),
    )
    variation_still_weight: float = option(
        0.3, "weight of a still pixel in that loss, as a share of a changing one's", weight()
    )
    static_target: str = option("mean", "what the static field alone should show", ("mean", "median"))
    static_weight: float = option(1.0, "weight of that loss", weight())
    distance_weight: float = distance_weight_option(1e-2)

    __post_init__ = check_values


@dataclass(frozen=True)
class PenaltiesConfig:
    """Weights of the regularisers of grids."""

    tv_density_weight: float = option(1e-3, "weight of the density grids' total variation", weight())
    tv_appearance_weight: float = option(1e-3, "weight of the appearance grids' total variation", weight())
    tv_variation_weight: float = option(1e-3, "weight of the variation grids' total variation", weight())
    l1_weight: float = option(8e-5, "weight of the density grids' mean absolute value", weight())
    regularize_every: int = option(
        1, "steps between grid regularisers, whose weights grow to match", count(1, "a rhythm in steps")
    )

    __post_init__ = check_values


@dataclass(frozen=True)
class RatesConfig:
    """Learning rates beside the grids'."""

    network_lr: float = option(
        0.15, "learning rate of the networks, as a share of the grids'", Range(0, 1e3, "a multiple of a learning rate")
    )
    time_lr: float = option(
        5.0,
        "learning rate of the time query, as a multiple of the networks'",
        Range(0, 1e3, "a multiple of a learning rate"),
    )

    __post_init__ = check_values
