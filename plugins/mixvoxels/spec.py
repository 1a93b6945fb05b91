"""What the core reads before anything heavy is imported: the backend's name and options."""

from dataclasses import dataclass

from syncnerf.backend import BackendSpec
from syncnerf.config import check_choices, option, whole_numbers
from syncnerf.errors import UserError


@dataclass(frozen=True)
class MixVoxelsConfig:
    """Options of the MixVoxels fields, of the choice between them, and of the losses."""

    field: str = option(
        "mixvoxels",
        "time query: mixvoxels (a network on the corrected time) or mixvoxels_latents (a learned vector per frame)",
        ("mixvoxels", "mixvoxels_latents"),
    )
    grid_resolution: int = option(256, "cells per side of the grids at the start (of a cube with as many cells)")
    final_resolution: int = option(640, "the same after the last upsampling")
    upsample_steps: str = option("3000,4000,5000,6500", "steps after which the grids grow, comma-separated; 0 for none")
    density_ranks: str = option("16,4,4", "ranks of the density grids (planes xy, xz, yz), multiples of 4 are fast")
    appearance_ranks: str = option("48,12,12", "ranks of the appearance grids")
    variation_ranks: str = option("8,8,8", "ranks of the variation field")
    appearance_features: int = option(27, "features that appearance grids are reduced to")
    hidden_width: int = option(128, "width of the networks' hidden layers")
    density_shift: float = option(-4.0, "shift of raw density before the softplus; nearer zero starts faster")
    density_scale: float = option(25.0, "factor on densities, per unit of space")
    query_width: int = option(512, "width of the time query")
    query_hidden_width: int = option(512, "width of the time network's hidden layers")
    time_octaves: int = option(10, "octaves of sines and cosines of time; the finest should span two frames or more")
    time_octaves_start: float = option(0.0, "octaves let through at the start, of time_octaves; 0 for all")
    time_octaves_until: float = option(0.5, "share of the training at which all octaves are let through")
    ray_steps: int = option(0, "steps of a ray across the box's longest side; 0 for two per cell")
    mask_resolution: int = option(128, "cells per side of the mask of empty space")
    mask_start: int = option(3500, "step of the first look for empty space")
    mask_every: int = option(500, "steps between looks for empty space")
    mask_threshold: float = option(1e-4, "opacity of a step below which a cell counts as empty")
    mask_decay: float = option(0.9, "factor on a cell's remembered density at each look")
    mask_times: int = option(16, "moments at which a look asks the dynamic field")
    shrink_step: int = option(3500, "step after which the box shrinks to what the mask leaves; 0 for never")
    variation_steps: int = option(0, "first steps, which train the variation field and the static field alone")
    variation_weight: float = option(1.0, "weight of the variation field's loss")
    variation_deviation: float = option(0.03, "standard deviation over time above which a pixel counts as changing")
    variation_still_weight: float = option(0.3, "weight of a still pixel in that loss, as a share of a changing one's")
    ray_threshold: float = option(0.9, "largest chance of change on a ray above which it is dynamic; 0 for all rays")
    point_threshold: float = option(0.01, "chance of change above which a point is dynamic; 0 for all points")
    colour_threshold: float = option(1e-4, "samples of less weight skip the colour networks")
    static_target: str = option("mean", "what the static field alone should show", ("mean", "median"))
    static_weight: float = option(1.0, "weight of that loss")
    tv_density_weight: float = option(1e-3, "weight of the density grids' total variation")
    tv_appearance_weight: float = option(1e-3, "weight of the appearance grids' total variation")
    tv_variation_weight: float = option(1e-3, "weight of the variation grids' total variation")
    l1_weight: float = option(8e-5, "weight of the density grids' mean absolute value")
    regularize_every: int = option(1, "steps between grid regularisers, whose weights grow to match")
    network_lr: float = option(0.15, "learning rate of the networks, as a share of the grids'")
    time_lr: float = option(5.0, "learning rate of the time query, as a multiple of the networks'")

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("density_ranks", "appearance_ranks", "variation_ranks"):
            if len(whole_numbers(self, name)) != 3:
                raise UserError(f"{name} = {getattr(self, name)}: should be three whole numbers")
        whole_numbers(self, "upsample_steps", least=0)
        if self.final_resolution < self.grid_resolution:
            raise UserError(f"final_resolution = {self.final_resolution}: should be at least grid_resolution")

    def resolution(self, step: int) -> int:
        """Cells per side (of a cube) after a step: grid_resolution to final_resolution, evenly in logarithm."""
        steps = [place for place in whole_numbers(self, "upsample_steps", least=0) if place > 0]
        done = sum(step >= place for place in steps)
        if not steps:
            return self.grid_resolution
        return round(self.grid_resolution * (self.final_resolution / self.grid_resolution) ** (done / len(steps)))


SPEC = BackendSpec(
    name="mixvoxels",
    summary="MixVoxels: static and dynamic voxel grids, all frames of a pixel at once",
    config=MixVoxelsConfig,
    adapter="syncnerf_mixvoxels.adapter:MixVoxelsBackend",
    batch="time_series",
)
