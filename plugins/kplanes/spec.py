"""What the core reads before anything heavy is imported: the backend's name and options."""

from dataclasses import dataclass

from syncnerf.backend import BackendSpec
from syncnerf.config import check_choices, option, whole_numbers
from syncnerf.errors import UserError


@dataclass(frozen=True)
class KPlanesConfig:
    """Options of the K-Planes field, its samplers and its losses."""

    field: str = option(
        "kplanes",
        "kplanes (planes, two small networks), kplanes_explicit (planes, a linear decoder) or hash (masked space-time "
        "hash grids, two small networks)",
        ("kplanes", "kplanes_explicit", "hash"),
    )
    plane_resolution: int = option(64, "cells per side of the coarsest spatial planes")
    plane_scales: str = option("1,2,4,8", "multiples of plane_resolution, comma-separated")
    plane_channels: int = option(32, "features per plane and scale")
    hash_levels: int = option(16, "grids of the static and of the dynamic hash, coarse to fine")
    hash_features: int = option(2, "features per level: 1, 2, 4 or 8")
    hash_table: int = option(19, "binary logarithm of the most entries of a level")
    hash_coarsest: int = option(16, "cells per side of the coarsest level")
    hash_finest: int = option(2048, "cells per side of the finest level")
    hash_interpolation: str = option(
        "linear", "between a cell's corners; smoothstep has a slope without steps", ("linear", "smoothstep")
    )
    time_resolution: int = option(
        0, "cells along time, of the space-time planes or of the finest hash level; 0 for half the frames"
    )
    time_span: float = option(
        0.8, "the video covers [-time_span, time_span] of the field's time [-1, 1]; the rest is for offsets"
    )
    hidden_width: int = option(64, "width of the hybrid decoder's networks")
    basis_width: int = option(128, "width of the explicit decoder's network for the colour basis")
    sampler: str = option(
        "proposal",
        "where rays are sampled: proposal networks, or steps through occupied cells",
        ("proposal", "occupancy"),
    )
    proposal_samples: str = option("256,128", "samples per proposal network, comma-separated")
    proposal_resolutions: str = option(
        "64,128", "cells per side of each proposal network's planes or finest hash level"
    )
    proposal_channels: int = option(8, "features of the proposal planes")
    proposal_levels: int = option(5, "grids of the proposal hashes")
    proposal_table: int = option(17, "binary logarithm of the most entries of a proposal hash's level")
    proposal_warmup: int = option(5000, "steps after which proposals are updated only every 5th")
    anneal_steps: int = option(1000, "steps over which proposal weights sharpen")
    field_samples: int = option(48, "samples per ray that the field sees, with sampler proposal")
    occupancy_resolution: int = option(64, "cells per side of the occupancy grid")
    occupancy_times: int = option(
        1, "cells of the occupancy grid along time, with sampler occupancy; 1 for empty at all times"
    )
    occupancy_decay: float = option(0.9, "factor on a cell's remembered density at each look")
    occupancy_steps: int = option(128, "steps across the box's longest side, with sampler occupancy")
    occupancy_every: int = option(100, "steps between looks at the occupied cells")
    occupancy_start: int = option(400, "step of the first look")
    occupancy_threshold: float = option(0.01, "opacity of a step below which a cell counts as empty")
    colour_threshold: float = option(1e-4, "samples of less weight skip the colour network, with sampler occupancy")
    tv_weight: float = option(1e-4, "weight of the planes' total variation")
    proposal_tv_weight: float = option(1e-4, "the same for the proposal planes")
    time_smoothness_weight: float = option(1e-2, "weight of the space-time planes' second difference along time")
    proposal_time_smoothness_weight: float = option(1e-3, "the same for the proposal planes")
    static_weight: float = option(1e-4, "weight of the distance from static: of space-time planes from 1, of masks")
    proposal_static_weight: float = option(1e-4, "the same for the proposals")
    decay_weight: float = option(0.0, "weight of the hash tables' mean square, summed over levels")
    proposal_decay_weight: float = option(0.0, "the same for the proposals")
    histogram_weight: float = option(1.0, "weight of the proposal networks' loss")
    distortion_weight: float = option(0.0, "weight of mip-NeRF 360's distortion loss")
    density_weight: float = option(0.0, "weight of the mean density in empty-looking space")
    regularize_every: int = option(1, "steps between plane regularisers, whose weights grow to match")
    time_blur: float = option(0.0, "blur of the features along time at the start, in frames; narrows to none")
    time_blur_until: float = option(0.5, "share of the training at which that blur is gone")

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("plane_scales", "proposal_samples", "proposal_resolutions"):
            whole_numbers(self, name)
        if len(whole_numbers(self, "proposal_samples")) != len(whole_numbers(self, "proposal_resolutions")):
            raise UserError("proposal_samples and proposal_resolutions should have equally many numbers")
        if self.hidden_width not in (16, 32, 64, 128):
            raise UserError(f"hidden_width = {self.hidden_width}: should be 16, 32, 64 or 128")
        self._check_hash()
        if not 0.0 < self.time_span <= 1.0:
            raise UserError(f"time_span = {self.time_span}: should lie in (0, 1]")

    def _check_hash(self) -> None:
        if self.hash_features not in (1, 2, 4, 8):
            raise UserError(f"hash_features = {self.hash_features}: should be 1, 2, 4 or 8")
        for name in ("hash_table", "proposal_table"):
            if not 3 <= getattr(self, name) <= 28:
                raise UserError(f"{name} = {getattr(self, name)}: a binary logarithm, should lie in [3, 28]")
        for name, least in (("hash_levels", 1), ("proposal_levels", 1), ("hash_coarsest", 2)):
            if getattr(self, name) < least:
                raise UserError(f"{name} = {getattr(self, name)}: should be at least {least}")
        if self.hash_finest < self.hash_coarsest:
            raise UserError(f"hash_finest = {self.hash_finest}: should be at least hash_coarsest")


SPEC = BackendSpec(
    name="kplanes",
    summary="K-Planes: six planes per scale, or hash grids, with the same sampling and losses",
    config=KPlanesConfig,
    adapter="syncnerf_kplanes.adapter:KPlanesBackend",
    batch="rays",
)
