"""From options to a field and its proposals."""

from syncnerf.backend import SceneGeometry
from syncnerf.option import whole_numbers
from syncnerf_kplanes.field import DensityField, ExplicitDecoder, Features, Field, HybridDecoder
from syncnerf_kplanes.hash_features import HashSizes, MaskedHashGrid
from syncnerf_kplanes.planes import PlaneGrid
from syncnerf_kplanes.spec import KPlanesConfig


def make_field(config: KPlanesConfig, geometry: SceneGeometry, start: float) -> Field:
    """The field that the option ``field`` names; ``start`` is its density before it has learned anything."""
    if config.field == "hash":
        features: Features = _hash_grid(config, geometry, config.hash_levels, config.hash_table, config.hash_finest)
    else:
        resolutions = [config.plane_resolution * scale for scale in whole_numbers(config, "plane_scales")]
        features = PlaneGrid(resolutions, _time_cells(config, geometry), config.plane_channels, geometry.engine)
    if config.field == "kplanes_explicit":
        return Field(features, ExplicitDecoder(features.width, config.basis_width, start))
    return Field(features, HybridDecoder(features.width, config.hidden_width, start, geometry.engine))


def make_proposals(config: KPlanesConfig, geometry: SceneGeometry, start: float) -> list[DensityField]:
    """The proposal networks' fields, of the same kind of features and the same density at first."""
    fields = []
    for resolution in whole_numbers(config, "proposal_resolutions"):
        if config.field == "hash":
            table = config.proposal_table
            features: Features = _hash_grid(config, geometry, config.proposal_levels, table, resolution)
        else:
            channels = config.proposal_channels
            features = PlaneGrid([resolution], _time_cells(config, geometry), channels, geometry.engine)
        fields.append(DensityField(features, start, geometry.engine))
    return fields


def _hash_grid(config: KPlanesConfig, geometry: SceneGeometry, levels: int, table: int, finest: int) -> MaskedHashGrid:
    sizes = HashSizes(
        levels, config.hash_features, table, min(config.hash_coarsest, finest), finest, _time_cells(config, geometry),
        config.hash_interpolation == "smoothstep",
    )  # fmt: skip
    return MaskedHashGrid(sizes, geometry.engine)


def _time_cells(config: KPlanesConfig, geometry: SceneGeometry) -> int:
    return config.time_resolution or max(2, geometry.frame_count // 2)
