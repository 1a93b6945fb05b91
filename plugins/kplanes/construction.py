"""From options to a field and its proposals."""

from syncnerf.option import whole_numbers
from syncnerf.scene.geometry import SceneGeometry
from syncnerf_kplanes.field import DensityField, ExplicitDecoder, Features, Field, HybridDecoder
from syncnerf_kplanes.hash_features import HashSizes, SpaceTimeHash
from syncnerf_kplanes.options import HashConfig, TimeConfig
from syncnerf_kplanes.planes import PlaneGrid
from syncnerf_kplanes.spec import KPlanesConfig


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
    return config.time_resolution or max(2, geometry.frame_count // 2)
