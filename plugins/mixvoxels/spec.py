"""What the core reads before anything heavy is imported: the backend's name and options."""

from dataclasses import dataclass

from syncnerf.backend import BackendSpec
from syncnerf.errors import UserError
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
        "time query: mixvoxels (waves of the corrected time) or mixvoxels_latents (a learned vector per frame)",
        ("mixvoxels", "mixvoxels_latents"),
    )
    grids: GridsConfig = part(GridsConfig)
    query: QueryConfig = part(QueryConfig)
    mask: MaskConfig = part(MaskConfig)
    mixing: MixingConfig = part(MixingConfig)
    losses: LossesConfig = part(LossesConfig)
    penalties: PenaltiesConfig = part(PenaltiesConfig)
    rates: RatesConfig = part(RatesConfig)

    def __post_init__(self) -> None:
        check_values(self)
        if self.mask.mask_intervals > 1 and self.losses.static_target == "mean":
            raise UserError(
                f"mask_intervals = {self.mask.mask_intervals}: the static field is shown where nothing moves, "
                "which static_target = median teaches it, not mean"
            )


SPEC = BackendSpec(
    name="mixvoxels",
    summary="MixVoxels: static and dynamic voxel grids, all frames of a pixel at once",
    config=MixVoxelsConfig,
    adapter="syncnerf_mixvoxels.adapter:MixVoxelsBackend",
    trains_on="time_series",
    learns_distances=True,
    carves=lambda config: config.mask.mask_intervals,
    tells_still=True,
    engines=("torch",),
)
