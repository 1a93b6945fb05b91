"""What the core reads before anything heavy is imported: the backend's name and options."""

from dataclasses import dataclass

from syncnerf.backend import BackendSpec
from syncnerf.option import check_values, option, part
from syncnerf_mixvoxels.options import (
    GridsConfig,
    LossesConfig,
    MaskConfig,
    MixingConfig,
    PenaltiesConfig,
    QueryConfig,
    RatesConfig,
)


@dataclass(frozen=True)
class MixVoxelsConfig:
    """How time is asked for, and the options of the parts."""

    field: str = option(
        "mixvoxels",
        "time query: mixvoxels (a network on the corrected time) or mixvoxels_latents (a learned vector per frame)",
        ("mixvoxels", "mixvoxels_latents"),
    )
    grids: GridsConfig = part(GridsConfig)
    query: QueryConfig = part(QueryConfig)
    mask: MaskConfig = part(MaskConfig)
    mixing: MixingConfig = part(MixingConfig)
    losses: LossesConfig = part(LossesConfig)
    penalties: PenaltiesConfig = part(PenaltiesConfig)
    rates: RatesConfig = part(RatesConfig)

    __post_init__ = check_values


SPEC = BackendSpec(
    name="mixvoxels",
    summary="MixVoxels: static and dynamic voxel grids, all frames of a pixel at once",
    config=MixVoxelsConfig,
    adapter="syncnerf_mixvoxels.adapter:MixVoxelsBackend",
    trains_on="time_series",
    learns_distances=True,
    carves=lambda config: config.mask.mask_intervals,
    engines=("torch",),
)
