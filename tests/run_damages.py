"""Named ways of spoiling a run, each with the command that meets it and what should become of it."""

import json
import os
import resource
import shutil
import signal
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock
from tiny_scene import edit_json, write_video

from syncnerf.training.checkpoints import list_checkpoints

STEPS = 4
VALIDATE, RENDER, RESUME = "--validate-only", "--render-only", "--resume"
LONGER = (RESUME, "--steps=6", "--extend")


@dataclass(frozen=True)
class Damage:
    """What is done to a finished run and its scene, and to the process, before ``syncnerf train`` with ``arguments``.

    Attributes:
        arguments: added to those that the run was made with.
        words: what the one line of the error holds; None where the run should end well.
        run: spoils the run's folder.
        scene: spoils the scene's folder, which is then a copy.
        during: a context in which the command runs.
        fresh: the run's folder does not exist yet.
    """

    arguments: tuple[str, ...]
    words: str | None
    run: Callable[[Path], object] | None = None
    scene: Callable[[Path], object] | None = None
    during: Callable[[Path], object] | None = None
    fresh: bool = False


def newest(run: Path) -> Path:
    """The run's newest checkpoint."""
    return list_checkpoints(run / "checkpoints")[-1]


def checkpoint(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Apply ``change(record)`` to the newest checkpoint."""

    def spoil(run: Path) -> None:
        record = torch.load(newest(run), weights_only=True)
        change(record)
        torch.save(record, newest(run))

    return spoil


def content(name: str, data: bytes | None, share: float = 1.0) -> Callable[[Path], None]:
    """Replace a file (``newest`` for the checkpoint), or keep its first part where there is no data."""

    def spoil(run: Path) -> None:
        path = newest(run) if name == "newest" else run / name
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)] if data is None else data)

    return spoil


def flipped_bit(run: Path) -> None:
    """A disk that has lost a bit in the middle of the newest checkpoint."""
    data = bytearray(newest(run).read_bytes())
    data[len(data) // 2] ^= 4
    newest(run).write_bytes(data)


def transforms(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Apply ``change(record)`` to the scene's json."""
    return lambda scene: edit_json(scene / "transforms.json", change)


def other_footage(scene: Path) -> None:
    """One camera's video is another one's."""
    shutil.copy(scene / "cam03.mp4", scene / "cam02.mp4")


def shorter_video(scene: Path) -> None:
    """One camera has fewer frames."""
    write_video(scene / "cam02.mp4", [torch.zeros(32, 32, 3, dtype=torch.uint8).numpy()] * 5)


def one_frame(scene: Path) -> None:
    """Every video has a single frame."""
    for video in scene.glob("*.mp4"):
        write_video(video, [torch.full((32, 32, 3), 90, dtype=torch.uint8).numpy()])


def folder_for_file(name: str) -> Callable[[Path], None]:
    """A folder lies where a file should be."""

    def spoil(run: Path) -> None:
        path = run / name
        if path.is_file():
            path.unlink()
        path.mkdir(parents=True, exist_ok=True)

    return spoil


@contextmanager
def largest_file(size: int):
    """No file may grow beyond ``size`` bytes, which is how a full disk looks to whoever writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def held(run: Path):
    """Another run holds the folder."""
    run.mkdir(parents=True, exist_ok=True)
    return FileLock(run / ".lock")


@contextmanager
def signalled(run: Path):
    """A signal arrives in the first step."""
    from syncnerf.training.trainer import Trainer

    original = Trainer.train_step

    def train_step(trainer):
        if not trainer.step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(trainer)

    Trainer.train_step = train_step
    try:
        yield
    finally:
        Trainer.train_step = original


def offset_file(record: object) -> Callable[[Path], object]:
    """An offsets.json to start from, beside the run."""
    return lambda run: (run.parent / "start.json").write_text(record if isinstance(record, str) else json.dumps(record))


START = "--offset-init={logs}/start.json"
OTHERS = {"cameras": {"left": {"offset": 0.1}}}
OFFSETS = {"cameras": {f"cam0{k}": {"offset": 0.01 * k} for k in range(4)}}

DAMAGES: dict[str, Damage] = {
    # Nothing is spoilt: the commands themselves.
    "validate": Damage((VALIDATE,), None),
    "render": Damage((RENDER,), None),
    "resume what is finished": Damage((RESUME,), None),
    "evaluate a checkpoint from elsewhere": Damage(
        ("--ckpt={run}/checkpoints/step_0000004.pt", "--expname=other"), None
    ),
    "train anew": Damage((), None, fresh=True),
    "resume where nothing is yet": Damage((RESUME,), None, fresh=True),
    "videos of one frame": Damage((), None, scene=one_frame, fresh=True),
    # Numbers and words.
    "no steps": Damage(("--steps=-5",), "steps = -5", fresh=True),
    "a learning rate of nan": Damage(("--lr=nan",), "lr = nan", fresh=True),
    "a seed beyond counting": Damage(("--seed=99999999999999999999",), "seed = 99999999999999999999", fresh=True),
    "planes of one cell": Damage(("--plane-resolution=1",), "plane_resolution = 1", fresh=True),
    "proposals of one cell": Damage(("--proposal-resolutions=1",), "proposal_resolutions = 1", fresh=True),
    "an apple device": Damage(("--device=mps",), "device = mps", fresh=True),
    "a device that is not there": Damage(("--device=cuda:77",), "device = cuda:77", fresh=True),
    "a field beyond memory": Damage(
        ("--plane-resolution=4096", "--plane-scales=256", "--plane-channels=8"), "not enough memory", fresh=True
    ),
    "a word for a number": Damage(("--steps=many",), "'many'", fresh=True),
    "an unknown option": Damage(("--stepz=3",), "did you mean 'steps'", fresh=True),
    "an unknown backend": Damage(("--backend=kplane",), "did you mean 'kplanes'", fresh=True),
    "frames of a series, one by one": Damage(("--time-frames=5",), "time_frames = 5", fresh=True),
    # Combinations.
    "offsets off, and a file of them": Damage((START, "--offset-mode=off"), "offset_mode off", offset_file(OFFSETS)),
    "importance without a share": Damage(("--importance=isg",), "dynamic_share is 0", fresh=True),
    "a checkpoint to resume": Damage(("--ckpt=x.pt", RESUME), "leave one out"),
    "validate and render": Damage((VALIDATE, RENDER), "in two runs"),
    "a camera to test and to leave out": Damage(
        ("--test-cameras=cam02", "--exclude-cameras=cam02"), "'cam02'", fresh=True
    ),
    "frozen before they start": Damage(("--offset-freeze=0.2", "--offset-start=0.5"), "never move", fresh=True),
    "a grid of cells, and a world beyond it": Damage(
        ("--sampler=occupancy", "--space=contraction"), "give sampler proposal", fresh=True
    ),
    "longer without resuming": Damage(("--extend",), "--resume", fresh=True),
    # The scene that a checkpoint meets.
    "other footage": Damage((VALIDATE,), "other footage of camera 'cam02'", scene=other_footage),
    "other footage to train on": Damage((RESUME,), "other footage of camera 'cam02'", scene=other_footage),
    "a shorter video": Damage((VALIDATE,), "number of frames of camera 'cam02' 12", scene=shorter_video),
    "a moved camera": Damage(
        (VALIDATE,),
        "pose of camera 'cam02'",
        scene=transforms(lambda d: d["frames"][2]["transform_matrix"][0].__setitem__(3, 1.0)),
    ),
    "another lens": Damage(
        (VALIDATE,), "focal length of camera 'cam00'", scene=transforms(lambda d: d.update(camera_angle_x=0.7))
    ),
    "another distortion": Damage(
        (VALIDATE,), "lens distortion of camera 'cam02'", scene=transforms(lambda d: d["frames"][2].update(k1=1e-4))
    ),
    "other times of frames": Damage(
        (VALIDATE,),
        "last frame's time of camera 'cam02'",
        scene=transforms(lambda d: d["frames"][2].update(frame_times=[0.12 * k for k in range(12)])),
    ),
    "another near": Damage((VALIDATE,), "near", scene=transforms(lambda d: d.update(near=1.0, far=9.0))),
    "another box": Damage((VALIDATE,), "bounds", scene=transforms(lambda d: d.update(aabb=[[-3, -3, -3], [3, 3, 3]]))),
    "another space": Damage((VALIDATE, "--space=contraction"), "space (--space) bounded"),
    "another size of images": Damage((VALIDATE, "--downsample=2"), None),
    "a trained camera to test": Damage((VALIDATE, "--test-cameras=cam02"), "camera 'cam00' was not trained"),
    "a further camera to test": Damage((VALIDATE, "--test-cameras=cam00,cam02"), "camera 'cam02' was trained"),
    "a camera fewer": Damage((VALIDATE, "--exclude-cameras=cam03"), "other cameras"),
    "the same scene elsewhere": Damage((VALIDATE,), None, scene=lambda scene: None),
    # The configuration that a checkpoint meets.
    "another field to look at": Damage((VALIDATE, "--field-samples=9"), None),
    "another field to train": Damage((RESUME, "--tv-weight=0.5"), "tv_weight = 0.0001 instead of 0.5"),
    "another backend": Damage((VALIDATE,), "backend 'mixvoxels'", checkpoint(lambda r: r.update(backend="mixvoxels"))),
    "more steps": Damage((RESUME, "--steps=6"), "--extend"),
    "more steps, asked for": Damage(LONGER, None),
    "fewer steps": Damage((RESUME, "--steps=2"), "4 steps behind it"),
    "a lower rate": Damage((RESUME, "--lr=0.001"), None),
    "offsets off to look at": Damage((VALIDATE, "--offset-mode=off"), None),
    "offsets off to train": Damage((RESUME, "--offset-mode=off"), "offset_mode = learn instead of off"),
    "rates to look at": Damage((VALIDATE, "--offset-rates=learn"), None),
    "rates to train": Damage((RESUME, "--offset-rates=learn"), "offset_rates = off instead of learn"),
    "a shutter to train": Damage((RESUME, "--rolling-shutter=learn"), "rolling_shutter = given instead of learn"),
    "colours to look at": Damage((VALIDATE, "--camera-colours=learn"), None),
    "colours to train": Damage((RESUME, "--camera-colours=learn"), "camera_colours = auto instead of learn"),
    "another start to go on from": Damage((*LONGER, START), None, offset_file(OFFSETS)),
    "smaller images to go on with": Damage((*LONGER, "--downsample=2"), None),
    # Checkpoints.
    "no checkpoint": Damage((VALIDATE,), "holds no checkpoint", lambda run: shutil.rmtree(run / "checkpoints")),
    "a checkpoint that is not there": Damage(("--ckpt=gone.pt",), "gone.pt: no such checkpoint"),
    "an empty checkpoint": Damage((VALIDATE,), "step_0000004.pt", content("newest", b"")),
    "half a checkpoint": Damage((RESUME,), "step_0000004.pt", content("newest", None, 0.5)),
    "a bit lost in a checkpoint": Damage((VALIDATE,), "is damaged", flipped_bit),
    "a checkpoint of words": Damage((VALIDATE,), "step_0000004.pt", content("newest", b"see the other disk\n")),
    "a checkpoint that is a folder": Damage((VALIDATE,), "step_0000004.pt", lambda run: _folder(newest(run))),
    "a checkpoint of an older version": Damage((VALIDATE,), "version", checkpoint(lambda r: r.update(format=1))),
    "a checkpoint without parameters": Damage((VALIDATE,), "does not fit", checkpoint(lambda r: r["model"].popitem())),
    "a checkpoint without a part": Damage((VALIDATE,), "version", checkpoint(lambda r: r.pop("scene"))),
    "a checkpoint of an older backend": Damage(
        (VALIDATE,), "other options", checkpoint(lambda r: r["options"]["backend_options"].pop("tv_weight"))
    ),
    "a checkpoint without an optimizer": Damage(LONGER, "'optimizer'", checkpoint(lambda r: r.pop("optimizer"))),
    "an optimizer of other groups": Damage(
        LONGER, "parameter groups", checkpoint(lambda r: r["optimizer"]["param_groups"].pop())
    ),
    "an optimizer of other shapes": Damage(
        LONGER,
        "moments of another shape",
        checkpoint(lambda r: [state.update(exp_avg=torch.zeros(3)) for state in r["optimizer"]["state"].values()]),
    ),
    "a generator cut short": Damage(
        LONGER, "RNG state", checkpoint(lambda r: r.update(batch_generator=torch.zeros(3, dtype=torch.uint8)))
    ),
    "steps below none": Damage(LONGER, "no number of steps", checkpoint(lambda r: r.update(step=-4))),
    "options of words": Damage((VALIDATE,), "does not hold what", checkpoint(lambda r: r.update(options="many"))),
    "options of another kind": Damage(
        (VALIDATE,),
        "plane_resolution = -3",
        checkpoint(lambda r: r["options"]["backend_options"].update(plane_resolution=-3)),
    ),
    "a scene without a camera": Damage(
        (VALIDATE,), "does not hold what", checkpoint(lambda r: r["scene"]["cameras"].popitem())
    ),
    "a time of nan": Damage(
        (VALIDATE,), "not finite", checkpoint(lambda r: r["model"]["clock.range"].fill_(float("nan")))
    ),
    "offsets of nan": Damage(
        (VALIDATE,), "not finite", checkpoint(lambda r: r["model"]["clock.shifts"].fill_(float("nan")))
    ),
    "a checkpoint of nan": Damage(
        LONGER,
        "not finite",
        checkpoint(lambda r: [value.fill_(float("nan")) for value in r["model"].values() if value.ndim == 3]),
    ),
    "a checkpoint of other shapes": Damage(
        (VALIDATE,),
        "does not fit",
        checkpoint(lambda r: r["model"].update({k: v[..., :1] for k, v in r["model"].items() if v.ndim > 2})),
    ),
    # The run's folder.
    "a folder that holds a run": Damage((), "holds a run already"),
    "a run under way": Damage((RESUME,), "another run is writing", during=held),
    "a fresh run under way": Damage((), "another run is writing", during=held, fresh=True),
    "a look at a run under way": Damage((VALIDATE,), "another run is writing", during=held),
    "a file for a folder": Damage((), "run", lambda run: run.write_text("x"), fresh=True),
    "a file for the checkpoints": Damage((), "checkpoints", lambda run: _file(run / "checkpoints"), fresh=True),
    "a folder for the configuration": Damage((RESUME,), "config.txt", folder_for_file("config.txt")),
    "a folder for the offsets": Damage((RENDER,), "offsets.json", folder_for_file("offsets.json")),
    "a folder for the log": Damage(LONGER, "offsets.csv", folder_for_file("offsets.csv")),
    "a folder for the scores": Damage((VALIDATE,), "metrics.json", folder_for_file("metrics.json")),
    "a folder for the report": Damage((VALIDATE,), "report.html", folder_for_file("report.html")),
    "offsets of words": Damage((RENDER,), "offsets.json", content("offsets.json", b"late\n")),
    "offsets of other cameras": Damage((RENDER,), "offsets.json", content("offsets.json", b'{"cameras": {"x": 1}}')),
    "no offsets": Damage((RENDER,), None, lambda run: (run / "offsets.json").unlink()),
    "a log cut short": Damage((RESUME,), None, content("offsets.csv", None, 0.6)),
    "a log of noise": Damage((VALIDATE,), None, content("offsets.csv", b"\xff\x00,\n1,2\n")),
    "a configuration of noise": Damage((VALIDATE,), None, content("config.txt", b"\xff\xfe\x00")),
    "a configuration of noise to go on with": Damage((RESUME,), None, content("config.txt", b"\xff\xfe\x00")),
    # What a training starts from.
    "a start that is not there": Damage(("--offset-init=gone.json",), "gone.json", fresh=True),
    "a start of words": Damage((START,), "start.json", offset_file("soon"), fresh=True),
    "a start of other cameras": Damage((START,), "no offset for camera", offset_file(OTHERS), fresh=True),
    "a start of nan": Damage((START,), "cam00", offset_file({"seconds": [float("nan")] * 4}), fresh=True),
    # Disks and signals.
    "a disk full at the checkpoint": Damage((), "step_000", during=lambda _: largest_file(100_000), fresh=True),
    "a disk full at once": Damage((), "", during=lambda _: largest_file(0), fresh=True),
    "a signal": Damage((), "128", during=signalled, fresh=True),
}

GAUSSIANS_DAMAGES: dict[str, Damage] = {
    "validate": Damage((VALIDATE,), None),
    "render": Damage((RENDER,), None),
    "more steps, asked for": Damage(LONGER, None),
    "other batches of views": Damage((*LONGER, "--view-side=16", "--batch-size=512"), None),
    "no Gaussian": Damage(("--gaussians=0",), "gaussians = 0", fresh=True),
    "a spline of three knots": Damage(("--shade-knots=3",), "shade_knots = 3", fresh=True),
    "pictures of four pixels": Damage(("--view-side=4",), "view_side = 4", fresh=True),
    "another motion": Damage(("--motion=fast",), "motion = fast", fresh=True),
    "single rays' importance": Damage(("--importance=isg", "--dynamic-share=1"), "whole views", fresh=True),
    "other Gaussians to look at": Damage((VALIDATE, "--gaussians=300"), None),
    "other Gaussians to train": Damage((RESUME, "--gaussians=300"), "gaussians = 400 instead of 300"),
    "another motion to look at": Damage((VALIDATE, "--motion=free"), None),
    "another motion to train": Damage((RESUME, "--motion=free"), "motion = scaffold instead of free"),
    "options of another backend": Damage((VALIDATE, "--backend=kplanes"), "unknown option"),
    "other footage": Damage((VALIDATE,), "other footage of camera 'cam02'", scene=other_footage),
    "a moved camera": Damage(
        (RENDER,),
        "pose of camera 'cam02'",
        scene=transforms(lambda d: d["frames"][2]["transform_matrix"][0].__setitem__(3, 1.0)),
    ),
    "a bit lost in a checkpoint": Damage((RESUME,), "is damaged", flipped_bit),
    "a cloud of nan": Damage(
        (VALIDATE,),
        "not finite",
        checkpoint(lambda r: r["model"]["backend.cloud.means"].fill_(float("nan"))),
    ),
    "a cloud cut short": Damage(
        (VALIDATE,),
        "does not fit",
        checkpoint(lambda r: r["model"].update({"backend.cloud.means": r["model"]["backend.cloud.means"][:7]})),
    ),
    "a node that is not there": Damage(
        (VALIDATE,), "backend.cloud.nodes", checkpoint(lambda r: r["model"]["backend.cloud.nodes"].fill_(10_000))
    ),
    "a moment that is not there": Damage(
        (RESUME,), "backend.cloud.moments", checkpoint(lambda r: r["model"]["backend.cloud.moments"].fill_(-3))
    ),
    "moments of other shapes": Damage(
        LONGER,
        "moments of another shape",
        checkpoint(lambda r: [state.update(exp_avg=torch.zeros(3)) for state in r["optimizer"]["state"].values()]),
    ),
    "a disk full at the checkpoint": Damage((), "step_000", during=lambda _: largest_file(20_000), fresh=True),
    "a signal": Damage((), "128", during=signalled, fresh=True),
}


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _file(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("x")
