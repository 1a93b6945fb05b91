"""Every option of `syncnerf train`, one dataclass per concern. The parser is built from these.

Those of :mod:`syncnerf.sampling`, :mod:`syncnerf.starting` and :mod:`syncnerf.training` are in these rooms' own
``options.py``.
"""

from dataclasses import dataclass
from typing import Any

from syncnerf.backend import BackendSpec
from syncnerf.option import Range, check_values, count, option, option_values, share, weight
from syncnerf.sampling.options import SamplingConfig
from syncnerf.scene.read_options import DISTANCE, DOWNSAMPLE
from syncnerf.starting.options import StartConfig
from syncnerf.training.options import TrainingConfig

LEARNED = {"offset_mode": ("learn",)}
SEARCHED, ADAM = {"test_method": ("gauss-newton",)}, {"test_method": ("adam",)}
"""Conditions of options: of those for learned offsets, and of those that only one test method uses."""


@dataclass(frozen=True)
class SceneConfig:
    """Where the videos are and how they are read."""

    datadir: str = option("", "folder of the scene")
    dataset: str = option("auto", "format of the scene; auto recognises it from the folder")
    downsample: float = option(
        0.0,
        "train at images this many times smaller per side; 0 for the format's own",
        DOWNSAMPLE,
    )
    test_cameras: str = option("", "comma-separated names of the evaluation cameras; the format's own if empty")
    exclude_cameras: str = option("", "comma-separated names of cameras to leave out")
    cache_dir: str = option("", "folder of the decoded frames; beside the scene if empty")
    space: str = option(
        "auto", "how the field sees the space; auto is the format's own", ("auto", "bounded", "contraction", "ndc")
    )
    bounds: str = option(
        "", "two corners of the box that holds the scene, x,y,z,x,y,z in its units; the format's own if empty"
    )
    near: float = option(
        0.0,
        "distance from a camera at which the scene may begin; 0 for the format's own",
        DISTANCE,
    )
    far: float = option(0.0, "distance at which it ends; 0 for the format's own", DISTANCE)

    __post_init__ = check_values


@dataclass(frozen=True)
class OffsetsConfig:
    """The cameras' time offsets."""

    offset_mode: str = option("learn", "learn one offset per camera, or off: believe the videos", ("learn", "off"))
    offset_init: str = option(
        "auto",
        "start of the offsets: zero, sync (from motion alone), auto: sync where it can be had, or a file: a sync.json "
        "or the offsets.json of a run that began with sync, with their standard errors, or any other offsets.json",
    )
    offset_lr: float = option(
        6.25e-4,
        "offsets' learning rate from zero: largest change in a step, as a share of the video's duration",
        Range(0, 1, "a share; beyond 1 a single step leaves the video, below 0 offsets climb the wrong way"),
        LEARNED,
    )
    offset_refine_lr: float = option(
        6e-3,
        "the same in frames, where offsets start from sync or a file and only need refining",
        Range(0, 10, "refining is a matter of a frame; below 0 offsets climb the wrong way"),
        LEARNED,
    )
    offset_start: float = option(
        0.0, "share of the training before which the offsets stay at their start", share(), LEARNED
    )
    offset_refine_start: float = option(
        0.0, "the same if it is later, where offsets start from sync or a file", share(), LEARNED
    )
    offset_freeze: float = option(
        1.0, "share of the training after which they no longer change (Sync-NeRF: 0.5556)", share(), LEARNED
    )
    offset_l1: float = option(
        0.0, "weight of the penalty on the offsets' mean absolute value, per second", weight(), LEARNED
    )
    offset_rates: str = option(
        "off",
        "learn how fast each camera's clock runs as well (starts from sync --drift), or off: as the start has it",
        ("learn", "off"),
        LEARNED,
    )
    rolling_shutter: str = option(
        "given",
        "seconds from each camera's first to its last row: given (row_time of the scene, else none), or learned",
        ("given", "learn"),
    )

    __post_init__ = check_values


@dataclass(frozen=True)
class ColoursConfig:
    """The cameras' colours."""

    camera_colours: str = option(
        "auto",
        "learn a gain and a bias per camera and channel, or off: believe that all are alike; auto is off for scenes "
        "with a known background",
        ("auto", "learn", "off"),
    )
    camera_colours_lr: float = option(
        1e-3, "their learning rate", Range(0, 1, "gains lie around 1"), {"camera_colours": ("auto", "learn")}
    )
    camera_colours_prior: float = option(
        1e-2,
        "weight of their mean square distance from the identity",
        weight(),
        {"camera_colours": ("auto", "learn")},
    )

    __post_init__ = check_values


@dataclass(frozen=True)
class HeldOutConfig:
    """Fitting the offset of a camera that was not trained."""

    test_optim: bool = option(False, "fit the test cameras' offsets, then evaluate with them")
    test_method: str = option("gauss-newton", "grid then Gauss-Newton, or Adam (the paper's)", ("gauss-newton", "adam"))
    test_range: float = option(
        0.0,
        "largest offset that is searched, in seconds; 0 for half the video",
        Range(0, 1e6, "a distance in seconds"),
        SEARCHED,
    )
    test_pixels: int = option(
        1024,
        "pixels that the fit looks at in a frame subset, changing ones first",
        count(16, "fewer say nothing of an offset, and all are held in memory", 2**20),
    )
    test_steps: int = option(8, "Gauss-Newton steps at most", count(0, "a number of steps", 10**6), SEARCHED)
    test_adam_steps: int = option(1000, "steps of Adam", count(1, "a number of steps", 10**6), ADAM)
    test_adam_lr: float = option(
        1e-3,
        "Adam's learning rate, as a share of the video's duration",
        Range(0, 10, "no step is taken with 0, and below it the loss is climbed", above=True),
        ADAM,
    )

    __post_init__ = check_values


@dataclass(frozen=True)
class EvaluationConfig:
    """What is scored and rendered."""

    protocol: str = option(
        "full",
        "test-time fit that is scored: full (fit and score all), holdout (fit left, score right half)",
        ("full", "holdout"),
    )
    validate_only: bool = option(False, "evaluate a checkpoint, without training")
    render_only: bool = option(False, "render videos from a checkpoint, without training")
    render_frames: int = option(60, "frames of the rendered camera paths", count(1, "a video has frames", 10**6))
    render_chunk: int = option(
        16384, "rays rendered at once", count(1, "rays are rendered in parts that memory holds", 2**24)
    )
    test_frames: int = option(
        0, "evaluate only this many evenly spaced test frames; 0 for all", count(0, "a number of frames")
    )

    __post_init__ = check_values


@dataclass(frozen=True)
class RunConfig:
    """Where the run lives and what is continued."""

    backend: str = option("kplanes", "the field: an installed backend's name")
    expname: str = option("run", "name of the run's folder")
    logdir: str = option("runs", "folder of all runs")
    ckpt: str = option("", "checkpoint to evaluate or render; the run's newest if empty")
    resume: bool = option(False, "continue the run's newest checkpoint")
    extend: bool = option(
        False, "with resume: change the number of steps; the learning rate goes over to its new course without a jump"
    )
    dry_run: bool = option(False, "print the effective configuration, the scene and what could surprise, and stop")

    __post_init__ = check_values


CONCERNS: dict[str, type] = {
    "run": RunConfig,
    "scene": SceneConfig,
    "start": StartConfig,
    "offsets": OffsetsConfig,
    "colours": ColoursConfig,
    "sampling": SamplingConfig,
    "training": TrainingConfig,
    "held_out": HeldOutConfig,
    "evaluation": EvaluationConfig,
}


@dataclass(frozen=True)
class Config:
    """The effective configuration: every concern, the chosen backend's own options, and what it says of itself."""

    run: RunConfig
    scene: SceneConfig
    start: StartConfig
    offsets: OffsetsConfig
    colours: ColoursConfig
    sampling: SamplingConfig
    training: TrainingConfig
    held_out: HeldOutConfig
    evaluation: EvaluationConfig
    backend_options: Any
    spec: BackendSpec

    def values(self) -> dict[str, Any]:
        """All options by name."""
        found: dict[str, Any] = {}
        for name in (*CONCERNS, "backend_options"):
            found |= option_values(getattr(self, name))
        return found
