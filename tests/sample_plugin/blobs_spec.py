"""What syncnerf reads of the sample backend before anything heavy is imported: its name and options."""

from dataclasses import dataclass

from syncnerf.backend import BackendSpec
from syncnerf.option import Range, check_values, count, option


@dataclass(frozen=True)
class BlobsConfig:
    """Options of moving blobs."""

    blobs: int = option(12, "number of blobs", count(1, "something is to be seen", 1000))
    blob_size: float = option(
        0.3, "their radius at the start, as a share of half the box", Range(1e-3, 1, "a blob is seen, and inside")
    )

    __post_init__ = check_values


SPEC = BackendSpec(
    name="blobs",
    summary="a sample: soft balls on straight ways, drawn picture by picture",
    config=BlobsConfig,
    adapter="blobs_adapter:BlobsBackend",
    trains_on="views",
    has_networks=False,
    engines=("torch",),
)
