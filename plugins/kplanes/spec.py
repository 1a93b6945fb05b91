"""What the core reads before anything heavy is imported: the backend's name and options."""

from dataclasses import dataclass

from syncnerf.backend import BackendSpec
from syncnerf.option import check_values, option, part
from syncnerf_kplanes.options import (
    HASHES,
    PLANES,
    PROPOSALS,
    DecoderConfig,
    HashConfig,
    LossesConfig,
    OccupancyConfig,
    PenaltiesConfig,
    PlanesConfig,
    ProposalConfig,
    ShadingConfig,
    TimeConfig,
)


@dataclass(frozen=True)
class KPlanesConfig:
    """Which field and which sampler, and the options of their parts."""

    field: str = option(
        "kplanes",
        "kplanes (planes, two small networks), kplanes_explicit (planes, a linear decoder) or hash (hash grids "
        "of space and of its pairs of axes with time, two small networks)",
        ("kplanes", "kplanes_explicit", "hash"),
    )
    sampler: str = option(
        "proposal",
        "where rays are sampled: proposal networks, or steps through occupied cells",
        ("proposal", "occupancy"),
    )
    planes: PlanesConfig = part(PlanesConfig, PLANES)
    hash: HashConfig = part(HashConfig, HASHES)
    time: TimeConfig = part(TimeConfig)
    decoder: DecoderConfig = part(DecoderConfig)
    proposals: ProposalConfig = part(ProposalConfig, PROPOSALS)
    occupancy: OccupancyConfig = part(OccupancyConfig, {"sampler": ("occupancy",)})
    shading: ShadingConfig = part(ShadingConfig)
    losses: LossesConfig = part(LossesConfig)
    penalties: PenaltiesConfig = part(PenaltiesConfig)

    __post_init__ = check_values


def intervals(config: KPlanesConfig) -> int:
    """Intervals of time in which empty space is left out."""
    return config.occupancy.occupancy_times if config.sampler == "occupancy" else 1


def unfit(config: KPlanesConfig, space: str) -> str:
    """Why a configuration cannot train in a space, and what to do; empty if it can."""
    if config.sampler == "occupancy" and space == "contraction":
        return (
            "sampler = occupancy steps through the box alone, and with space contraction the scene goes on beyond it; "
            "give sampler proposal, or space bounded with --bounds that hold everything"
        )
    return ""


SPEC = BackendSpec(
    name="kplanes",
    summary="K-Planes: six planes per scale, or hash grids, with the same sampling and losses",
    config=KPlanesConfig,
    adapter="syncnerf_kplanes.adapter:KPlanesBackend",
    trains_on="rays",
    learns_distances=True,
    carves=intervals,
    unfit=unfit,
)
