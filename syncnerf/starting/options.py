"""What a field starts from: the options."""

from dataclasses import dataclass

from syncnerf.option import check_values, option


@dataclass(frozen=True)
class StartConfig:
    """What a field begins with, for a backend that starts from points."""

    tracks: str = option(
        "",
        "point tracks of any tracker to start from, in pictures or in space: one .npz, or a folder of <camera>.npz; "
        "corners followed from frame to frame if empty",
    )
    track_matching: str = option(
        "epipolar",
        "how tracks without common ids are matched between cameras: epipolar geometry, or optimal transport (extra "
        "tracks)",
        ("epipolar", "transport"),
    )

    __post_init__ = check_values
