"""What the core reads before anything heavy is imported: the backend's name and options."""

from dataclasses import dataclass

from syncnerf.backend import BackendSpec
from syncnerf.option import check_values, option, part
from syncnerf_gaussians.options import (
    CARRIED,
    CloudConfig,
    DensityConfig,
    LossesConfig,
    RatesConfig,
    ScaffoldConfig,
)


@dataclass(frozen=True)
class GaussiansConfig:
    """How Gaussians move, and the options of the parts."""

    motion: str = option(
        "scaffold",
        "scaffold: carried by nodes on splines; free: each for a while, straight on",
        ("scaffold", "free"),
    )
    cloud: CloudConfig = part(CloudConfig)
    scaffold: ScaffoldConfig = part(ScaffoldConfig, CARRIED)
    density: DensityConfig = part(DensityConfig)
    losses: LossesConfig = part(LossesConfig)
    rates: RatesConfig = part(RatesConfig)

    __post_init__ = check_values


SPEC = BackendSpec(
    name="gaussians",
    summary="Gaussians that a scaffold of splines carries, or that fly freely: whole pictures in milliseconds",
    config=GaussiansConfig,
    adapter="syncnerf_gaussians.adapter:GaussiansBackend",
    trains_on="views",
    starts_from_points=True,
    engines=("triton", "gsplat", "torch"),
    has_networks=False,
)
