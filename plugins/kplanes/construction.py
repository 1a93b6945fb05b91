"""From options to a field and its proposals."""

from syncnerf.option import whole_numbers
from syncnerf.scene.geometry import SceneGeometry
from syncnerf_kplanes.field import DensityField, ExplicitDecoder, Features, Field, HybridDecoder
from syncnerf_kplanes.hash_features import HashSizes, SpaceTimeHash
from syncnerf_kplanes.options import HashConfig, TimeConfig
from syncnerf_kplanes.planes import PlaneGrid
from syncnerf_kplanes.spec import KPlanesConfig

USUAL_NOVELTY = 0.1
"""Share of what moves that is new in each frame of people and toys: of these ``cells_per_frame`` is the number."""


def make_field(config: KPlanesConfig, geometry: SceneGeometry, start: float, engine: str) -> Field:
    """The field that the option ``field`` names; ``start`` is its density before it has learned anything."""
    time_cells = _time_cells(config.time, geometry)
    if config.field == "hash":
        sizes = config.hash
        features: Features = _hash_grid(
            sizes, sizes.hash_levels, sizes.hash_table, sizes.hash_finest, time_cells, engine
        )
    else:
        planes = config.planes
        resolutions = [planes.plane_resolution * scale for scale in whole_numbers(planes, "plane_scales")]
        features = PlaneGrid(resolutions, time_cells, planes.plane_channels, engine)
    if config.field == "kplanes_explicit":
        return Field(features, ExplicitDecoder(features.width, config.decoder.basis_width, start))
    return Field(features, HybridDecoder(features.width, config.decoder.hidden_width, start, engine))


def make_proposals(
    config: KPlanesConfig, geometry: SceneGeometry, start: float, engine: str
) -> list[DensityField]:
    """The proposal networks' fields, of the same kind of features and the same density at first."""
    fields, sizes, time_cells = [], config.proposals, _time_cells(config.time, geometry)
    for resolution in whole_numbers(sizes, "proposal_resolutions"):
        if config.field == "hash":
            features: Features = _hash_grid(
                config.hash, sizes.proposal_levels, sizes.proposal_table, resolution, time_cells, engine
            )
        else:
            features = PlaneGrid([resolution], time_cells, sizes.proposal_channels, engine)
        fields.append(DensityField(features, start, engine))
    return fields


def _hash_grid(
    config: HashConfig, levels: int, table: int, finest: int, time_cells: int, engine: str
) -> SpaceTimeHash:
    sizes = HashSizes(
        levels, config.hash_features, table, min(config.hash_coarsest, finest), finest, time_cells,
        config.hash_interpolation == "smoothstep",
    )  # fmt: skip
    return SpaceTimeHash(sizes, engine)


def _time_cells(config: TimeConfig, geometry: SceneGeometry) -> int:
    """Cells along time, as asked for, or the more the faster the scene is.

    Long cells blur what moves. Short ones are seen in few frames each, and the clocks of a field that is free in time
    follow it. (Measured on thrown bodies of novelty 0.65, with 1, 1.9 and 2.5 cells a frame: 28.2, 29.1 and 29.4 dB,
    offsets 0.006, 0.008 and 0.011 frame off; the demo, of novelty 0.08, with 1 and 1.9: 33.7 and 33.6 dB, 0.009 and
    0.012.)
    """
    if config.time_resolution:
        return config.time_resolution
    haste = 1.0 if geometry.novelty is None else (geometry.novelty / USUAL_NOVELTY) ** (1 / 3)
    return max(2, round(config.cells_per_frame * haste * geometry.frame_count))
