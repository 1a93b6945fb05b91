"""Which pixels a step sees: the options."""

from dataclasses import dataclass

from syncnerf.option import Range, check_values, count, option, share

IST = {"importance": ("ist", "isg-ist")}
"""Condition of the options that only IST uses."""


@dataclass(frozen=True)
class SamplingConfig:
    """Which pixels a step sees."""

    batch_size: int = option(
        4096,
        "rays in a step (pixels with all their frames, for a backend of series; of all views, for one of views)",
        count(1, "a step needs rays, and memory for them", 2**24),
    )
    dynamic_share: float = option(
        0.0, "share of the rays on pixels that change over the video; the rest are uniform", share()
    )
    dynamic_threshold: float = option(
        0.03,
        "standard deviation over time (of colours in [0, 1]) above which a pixel changes",
        Range(0, 1, "colours lie in [0, 1]"),
    )
    empty_share: float = option(1.0, "share of the uniform rays on plain background that are kept", share())
    importance: str = option(
        "changing",
        "how the dynamic share is drawn: changing pixels alike, by distance from the pixel's median (isg), by "
        "difference from near frames (ist), or isg-ist: one after the other",
        ("changing", "isg", "ist", "isg-ist"),
    )
    time_frames: int = option(
        0, "frames of a pixel in a step, for a time-series backend; 0 for all", count(0, "a number of frames")
    )
    time_sampling: str = option(
        "uniform", "how these are chosen: all alike, or by how much changes in a frame", ("uniform", "change")
    )
    dynamic_reach: int = option(
        20,
        "a pixel counts as changing for a time-series backend if one within so many pixels changes",
        count(0, "a distance in pixels", 4096),
    )
    stereo: str = option(
        "auto",
        "find where the still scene is by comparing the cameras' median pictures, and tell the field; auto where "
        "cameras stand before an unknown background",
        ("auto", "off"),
    )
    view_side: int = option(
        0,
        "largest side of the views in a step, in pixels, for a backend of views; 0 for one of which four fit a batch",
        count(8, "a picture has an extent", 2**14, also=0),
    )
    importance_switch: float = option(
        0.5, "share of the training after which isg-ist turns from ISG to IST", share(), {"importance": ("isg-ist",)}
    )
    isg_gamma: float = option(
        2e-2,
        "gamma of ISG, of colours in [0, 1]",
        Range(1e-4, 10, "colours lie in [0, 1], and gamma is a divisor"),
        {"importance": ("isg", "isg-ist")},
    )
    ist_shift: int = option(
        25, "frames that IST looks ahead and back", count(1, "a frame is compared with others", 10**6), IST
    )
    ist_floor: float = option(0.1, "smallest weight of IST", Range(0, 1, "colours lie in [0, 1]"), IST)

    __post_init__ = check_values
