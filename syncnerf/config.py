"""Every option of `syncnerf train`, one dataclass per concern. The parser is built from these."""

from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from syncnerf.errors import UserError


def option(default: Any, help: str, choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field that is an option: its default, its line of ``--help`` and its allowed values."""
    return field(default=default, metadata={"help": help, "choices": choices})


def check_choices(config: Any) -> None:
    """Raise UserError where a field holds a value outside its choices; called from ``__post_init__``."""
    for item in fields(config):
        choices = item.metadata.get("choices", ())
        if choices and getattr(config, item.name) not in choices:
            raise UserError(f"{item.name} = {getattr(config, item.name)}: should be one of {', '.join(choices)}")


def whole_numbers(config: Any, name: str, least: int = 1) -> list[int]:
    """An option of comma-separated whole numbers, as a list; raises UserError where one is none or below ``least``."""
    text = str(getattr(config, name))
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() and int(part) >= least for part in parts):
        raise UserError(f"{name} = {text}: should be whole numbers from {least}, with commas between")
    return [int(part) for part in parts]


@dataclass(frozen=True)
class SceneConfig:
    """Where the videos are and how they are read."""

    datadir: str = option("", "folder of the scene")
    dataset: str = option("auto", "format of the scene; auto recognises it from the folder")
    downsample: float = option(0.0, "train at images this many times smaller per side; 0 for the format's own")
    test_cameras: str = option("", "comma-separated names of the evaluation cameras; the format's own if empty")
    exclude_cameras: str = option("", "comma-separated names of cameras to leave out")
    cache_dir: str = option("", "folder of the decoded frames; beside the scene if empty")
    space: str = option(
        "auto", "how the field sees the space; auto is the format's own", ("auto", "bounded", "contraction", "ndc")
    )

    __post_init__ = check_choices


@dataclass(frozen=True)
class OffsetsConfig:
    """The cameras' time offsets."""

    offset_mode: str = option("learn", "learn one offset per camera, or off: believe the videos", ("learn", "off"))
    offset_init: str = option(
        "auto", "start of the offsets: zero, sync (from motion alone), a file, or auto: sync where it can be had"
    )
    offset_lr: float = option(
        6.25e-4, "offsets' learning rate from zero: largest change in a step, as a share of the video's duration"
    )
    offset_refine_lr: float = option(1e-4, "the same, where offsets start from sync or a file and only need refining")
    offset_start: float = option(0.0, "share of the training before which the offsets stay at their start")
    offset_refine_start: float = option(0.0, "the same if it is later, where offsets start from sync or a file")
    offset_freeze: float = option(1.0, "share of the training after which they no longer change (Sync-NeRF: 0.5556)")
    offset_l1: float = option(0.0, "weight of the penalty on the offsets' mean absolute value, per second")

    __post_init__ = check_choices


@dataclass(frozen=True)
class SamplingConfig:
    """Which pixels a step sees."""

    batch_size: int = option(4096, "rays in a step (pixels with all their frames, for a time-series backend)")
    dynamic_share: float = option(0.0, "share of the rays on pixels that change over the video; the rest are uniform")
    dynamic_threshold: float = option(
        0.03, "standard deviation over time (of colours in [0, 1]) above which a pixel changes"
    )
    empty_share: float = option(1.0, "share of the uniform rays on plain background that are kept")
    importance: str = option(
        "changing",
        "how the dynamic share is drawn: changing pixels alike, by distance from the pixel's median (isg), by "
        "difference from near frames (ist), or isg-ist: one after the other",
        ("changing", "isg", "ist", "isg-ist"),
    )
    time_frames: int = option(0, "frames of a pixel in a step, for a time-series backend; 0 for all")
    time_sampling: str = option(
        "uniform", "how these are chosen: all alike, or by how much changes in a frame", ("uniform", "change")
    )
    dynamic_reach: int = option(
        20, "a pixel counts as changing for a time-series backend if one within so many pixels changes"
    )
    importance_switch: float = option(0.5, "share of the training after which isg-ist turns from ISG to IST")
    isg_gamma: float = option(2e-2, "gamma of ISG, of colours in [0, 1]")
    ist_shift: int = option(25, "frames that IST looks ahead and back")
    ist_floor: float = option(0.1, "smallest weight of IST")

    __post_init__ = check_choices


@dataclass(frozen=True)
class TrainingConfig:
    """Length, learning rate, and what is written when."""

    steps: int = option(90_000, "training steps")
    lr: float = option(1e-2, "learning rate of the field (Adam)")
    lr_schedule: str = option("cosine", "decay of the learning rates over the training", ("cosine", "constant"))
    warmup_steps: int = option(512, "steps over which the learning rate rises")
    lr_final: float = option(0.0, "learning rate at the end, as a share of its height")
    seed: int = option(0, "seed of every random draw")
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    precision: str = option(
        "float32",
        "numbers that the networks compute with while training; parameters, offsets and evaluation stay 32-bit or more",
        ("float32", "bfloat16", "float16"),
    )
    prefetch: int = option(
        -1,
        "batches that a thread draws ahead; 0 for none, -1 for 2 on a GPU and none on a busy CPU",
    )
    engine: str = option(
        "auto",
        "kernels of the field: torch (anywhere), triton or tcnn (on CUDA); auto is the best that is installed",
        ("auto", "torch", "triton", "tcnn"),
    )
    compile: str = option(
        "auto",
        "torch.compile what gains by it (the regularisers): takes about 20 s at first and a C++ compiler, or Triton "
        "on CUDA; auto compiles for trainings of 10,000 steps and more",
        ("auto", "on", "off"),
    )
    cuda_graphs: bool = option(True, "record steps of fixed shapes as CUDA graphs and replay them; nothing on a CPU")
    log_every: int = option(50, "steps between lines of TensorBoard and offsets.csv")
    save_every: int = option(5000, "steps between checkpoints; the last two are kept")
    image_every: int = option(5000, "steps between TensorBoard images of the test view; 0 for none")

    __post_init__ = check_choices


@dataclass(frozen=True)
class TestTimeConfig:
    """Fitting the offset of a camera that was not trained."""

    __test__ = False  # pytest: not a test, whatever its name begins with

    test_optim: bool = option(False, "fit the test cameras' offsets, then evaluate with them")
    test_method: str = option("gauss-newton", "grid then Gauss-Newton, or Adam (the paper's)", ("gauss-newton", "adam"))
    test_range: float = option(0.0, "largest offset that is searched, in seconds; 0 for half the video")
    test_pixels: int = option(1024, "pixels that the fit looks at in a frame subset, changing ones first")
    test_steps: int = option(8, "Gauss-Newton steps at most")
    test_adam_steps: int = option(1000, "steps of Adam, where test_method is adam")
    test_adam_lr: float = option(1e-3, "Adam's learning rate, as a share of the video's duration")

    __post_init__ = check_choices


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
    render_frames: int = option(60, "frames of the rendered camera paths")
    render_chunk: int = option(16384, "rays rendered at once")
    test_frames: int = option(0, "evaluate only this many evenly spaced test frames; 0 for all")

    __post_init__ = check_choices


@dataclass(frozen=True)
class RunConfig:
    """Where the run lives and what is continued."""

    backend: str = option("kplanes", "the field: an installed backend's name")
    expname: str = option("run", "name of the run's folder")
    logdir: str = option("runs", "folder of all runs")
    ckpt: str = option("", "checkpoint to evaluate or render; the run's newest if empty")
    resume: bool = option(False, "continue the run's newest checkpoint")
    dry_run: bool = option(False, "print the effective configuration and the scene's summary, and stop")

    __post_init__ = check_choices


CONCERNS: dict[str, type] = {
    "run": RunConfig,
    "scene": SceneConfig,
    "offsets": OffsetsConfig,
    "sampling": SamplingConfig,
    "training": TrainingConfig,
    "test_time": TestTimeConfig,
    "evaluation": EvaluationConfig,
}


@dataclass(frozen=True)
class Config:
    """The effective configuration: every concern, and the chosen backend's own options."""

    run: RunConfig
    scene: SceneConfig
    offsets: OffsetsConfig
    sampling: SamplingConfig
    training: TrainingConfig
    test_time: TestTimeConfig
    evaluation: EvaluationConfig
    field: Any

    def values(self) -> dict[str, Any]:
        """All options by name."""
        return {
            item.name: getattr(part, item.name)
            for part in (getattr(self, name) for name in (*CONCERNS, "field"))
            for item in fields(part)
        }


def defaults(config_type: type) -> dict[str, Any]:
    """Default of every option of a dataclass, by name."""
    return {item.name: item.default for item in fields(config_type) if item.default is not MISSING}
