"""Options of the K-Planes backend, a dataclass per part; each is known to the code of that part alone."""

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

PLANES, HASHES, PROPOSALS = {"field": ("kplanes", "kplanes_explicit")}, {"field": ("hash",)}, {"sampler": ("proposal",)}
"""Of which field, or sampler, an option is."""


@dataclass(frozen=True)
class PlanesConfig:
    """Sizes of the planes."""

    plane_resolution: int = option(
        64, "cells per side of the coarsest spatial planes", count(2, "interpolation takes two cells", 4096)
    )
    plane_scales: str = option("1,2,4,8", "multiples of plane_resolution, comma-separated", count(1, "a multiple", 256))
    plane_channels: int = option(32, "features per plane and scale", count(1, "planes hold features", 1024))

    __post_init__ = check_values


@dataclass(frozen=True)
class HashConfig:
    """Sizes of the hash grids."""

    hash_levels: int = option(
        16, "levels of each hash grid, coarse to fine", count(1, "a hash has levels", 64)
    )
    hash_features: int = option(2, "features per level", (1, 2, 4, 8))
    hash_table: int = option(19, "binary logarithm of the most entries of a level", count(3, "a binary logarithm", 28))
    hash_coarsest: int = option(
        16, "cells per side of the coarsest level", count(2, "interpolation takes two cells", 2**20)
    )
    hash_finest: int = option(
        2048, "cells per side of the finest level", count(2, "interpolation takes two cells", 2**20)
    )
    hash_interpolation: str = option(
        "linear", "between a cell's corners; smoothstep has a slope without steps", ("linear", "smoothstep")
    )

    def __post_init__(self) -> None:
        check_values(self)
        if self.hash_finest < self.hash_coarsest:
            raise UserError(f"hash_finest = {self.hash_finest}: should be at least hash_coarsest")
        _check_entries(self, "hash_levels", "hash_table")


@dataclass(frozen=True)
class TimeConfig:
    """The axis of time, of planes and of hash grids."""

    time_resolution: int = option(
        0,
        "cells along time, of the space-time planes or of the finest hash level; 0 for as many as cells_per_frame says",
        count(2, "interpolation takes two cells", 10**6, also=0),
    )
    cells_per_frame: float = option(
        0.5,
        "cells along time for each frame of a scene in which a tenth of what moves is new in each frame; faster scenes "
        "have more, with the cube root of that share",
        Range(0.01, 100, "less than a cell in a hundred frames shows no motion"),
        {"time_resolution": (0,)},
    )
    time_blur: float = option(
        0.0,
        "blur of the features along time at the start, in frames; narrows to none",
        Range(0, 1e6, "a width in frames"),
    )
    time_blur_until: float = option(0.5, "share of the training at which that blur is gone", share())

    __post_init__ = check_values


@dataclass(frozen=True)
class DecoderConfig:
    """From features to densities and colours."""

    hidden_width: int = option(
        64, "width of the hybrid decoder's networks", (16, 32, 64, 128), {"field": ("kplanes", "hash")}
    )
    basis_width: int = option(
        128,
        "width of the explicit decoder's network for the colour basis",
        count(1, "a network has a width", 8192),
        {"field": ("kplanes_explicit",)},
    )
    initial_depth: float = option(
        0.0,
        "optical depth across the box at the start; 0 for 0.2, or 20 inside a visual hull where one is known",
        Range(0, 1e4, "optical depths are positive"),
    )

    __post_init__ = check_values


@dataclass(frozen=True)
class ProposalConfig:
    """Proposal networks, which say where a ray is sampled."""

    proposal_samples: str = option(
        "256,128", "samples per proposal network, comma-separated", count(1, "a ray is sampled", 4096)
    )
    proposal_resolutions: str = option(
        "64,128",
        "cells per side of each proposal network's planes or finest hash level",
        count(2, "interpolation takes two cells", 2**20),
    )
    proposal_channels: int = option(
        8, "features of the proposal planes", count(1, "planes hold features", 1024), PLANES
    )
    proposal_levels: int = option(5, "grids of the proposal hashes", count(1, "a hash has levels", 64), HASHES)
    proposal_table: int = option(
        17,
        "binary logarithm of the most entries of a proposal hash's level",
        count(3, "a binary logarithm", 28),
        HASHES,
    )
    proposal_warmup: int = option(
        5000, "steps after which proposals are updated only every 5th", count(0, "a number of steps")
    )
    anneal_steps: int = option(1000, "steps over which proposal weights sharpen", count(0, "a number of steps"))
    field_samples: int = option(
        48, "samples per ray that the field sees, with sampler proposal", count(1, "a ray is sampled", 4096)
    )

    def __post_init__(self) -> None:
        check_values(self)
        if len(whole_numbers(self, "proposal_samples")) != len(whole_numbers(self, "proposal_resolutions")):
            raise UserError("proposal_samples and proposal_resolutions should have equally many numbers")
        _check_entries(self, "proposal_levels", "proposal_table")


@dataclass(frozen=True)
class OccupancyConfig:
    """The grid of occupied cells, and the steps through them."""

    occupancy_resolution: int = option(
        64, "cells per side of the occupancy grid", count(1, "a grid has cells, and all are held in memory", 512)
    )
    occupancy_times: int = option(
        1,
        "cells of the occupancy grid along time, with sampler occupancy; 1 for empty at all times",
        count(1, "a grid has cells, and all are held in memory", 1024),
    )
    occupancy_decay: float = option(
        0.9, "factor on a cell's remembered density at each look", share("what is remembered only fades")
    )
    occupancy_steps: int = option(
        128, "steps across the box's longest side, with sampler occupancy", count(1, "a ray takes steps", 16384)
    )
    occupancy_every: int = option(100, "steps between looks at the occupied cells", count(1, "a rhythm in steps"))
    occupancy_start: int = option(400, "step of the first look", count(0, "a step"))
    occupancy_threshold: float = option(
        0.01, "opacity of a step below which a cell counts as empty", share("opacities lie in [0, 1]")
    )

    __post_init__ = check_values


@dataclass(frozen=True)
class ShadingConfig:
    """From samples to pixels."""

    colour_threshold: float = colour_threshold_option(1e-4)
    gradient_radius: float = gradient_radius_option(-1.0)
    gradient_thinning: float = option(
        0.0,
        "samples whose gradients are shorter than so many times the mean are thinned out at random, and those left "
        "count as much more: a step on a CPU takes two thirds of the time; 0 for none",
        Range(0, 1e6, "a multiple of the mean"),
    )

    __post_init__ = check_values


@dataclass(frozen=True)
class LossesConfig:
    """Weights of the losses."""

    histogram_weight: float = option(1.0, "weight of the proposal networks' loss", weight(), PROPOSALS)
    distortion_weight: float = option(0.0, "weight of mip-NeRF 360's distortion loss", weight())
    density_weight: float = option(0.0, "weight of the mean density in empty-looking space", weight())
    distance_weight: float = distance_weight_option(1e-2)

    __post_init__ = check_values


@dataclass(frozen=True)
class PenaltiesConfig:
    """Weights of the regularisers of features."""

    tv_weight: float = option(1e-4, "weight of the planes' total variation", weight(), PLANES)
    proposal_tv_weight: float = option(1e-4, "the same for the proposal planes", weight(), PLANES | PROPOSALS)
    time_smoothness_weight: float = option(
        1e-2, "weight of the space-time planes' second difference along time", weight(), PLANES
    )
    proposal_time_smoothness_weight: float = option(
        1e-3, "the same for the proposal planes", weight(), PLANES | PROPOSALS
    )
    static_weight: float = option(
        1e-4, "weight of the distance from static: of planes with time from 1, of hash grids with time from 0", weight()
    )
    proposal_static_weight: float = option(1e-4, "the same for the proposals", weight(), PROPOSALS)
    decay_weight: float = option(0.0, "weight of the hash tables' mean square, summed over levels", weight(), HASHES)
    proposal_decay_weight: float = option(0.0, "the same for the proposals", weight(), HASHES | PROPOSALS)
    regularize_every: int = option(
        1, "steps between plane regularisers, whose weights grow to match", count(1, "a rhythm in steps")
    )

    __post_init__ = check_values


def _check_entries(config: HashConfig | ProposalConfig, levels: str, table: str) -> None:
    """Raise UserError where a hash has more entries than its kernels count."""
    if getattr(config, levels) << getattr(config, table) >= 2**32:
        raise UserError(
            f"{levels} = {getattr(config, levels)} with {table} = {getattr(config, table)}: should be fewer than "
            "2^32 entries in all (they are counted in 32 bits)"
        )
