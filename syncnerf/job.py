"""The object that knows a run: what its configuration names, looked up once."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from syncnerf.backend import BackendSpec
from syncnerf.combinations import check_space
from syncnerf.config import Config, SceneConfig
from syncnerf.encodings.engines import ENGINES, choose_engine
from syncnerf.errors import UserError
from syncnerf.provenance import check_scene
from syncnerf.resuming import settled
from syncnerf.sampling.novelty import scene_novelty
from syncnerf.scene import Scene, load_scene
from syncnerf.scene.read_options import ReadOptions, box_numbers, names_in
from syncnerf.scene.remarks import warn_of_blind
from syncnerf.training.checkpoints import (
    Checkpoint,
    choose_checkpoint,
    list_checkpoints,
    load_checkpoint,
    taking_over,
)
from syncnerf.training.schedule import Course


@dataclass(frozen=True)
class Job:
    """What a run works with.

    Attributes:
        config: the effective configuration; where there is a checkpoint, as that has it.
        scene: cameras and frames.
        device: where the field is.
        engine: what its kernels run on.
        course: length of the training.
        checkpoint: what the run begins with; None for a training from the start.
    """

    config: Config
    scene: Scene
    device: torch.device
    engine: str
    course: Course
    checkpoint: Checkpoint | None = None

    @classmethod
    def of(cls, config: Config, scene: Scene | None = None) -> Job:
        """Look up what a configuration names; no frame is decoded, and nothing is written.

        Args:
            config: what was asked for.
            scene: instead of the one that it names.

        Raises:
            UserError: something of it is unfit.
        """
        scene = scene or open_scene(config.scene)
        device = choose_device(config.training.device)
        engine = choose_engine(config.training.engine, device, config.spec.engines or ENGINES)
        check_start(config)
        check_space(config, scene.space)
        warn_of_blind(scene)
        return cls(config, scene, device, engine, Course(config.training.steps, config.training.steps))

    @property
    def spec(self) -> BackendSpec:
        """The backend's."""
        return self.config.spec

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return Path(self.config.run.logdir) / self.config.run.expname

    @property
    def trains(self) -> bool:
        """Whether the run trains, and does not only look at what was trained."""
        return trains(self.config)

    @cached_property
    def novelty(self) -> float | None:
        """How much of what moves is new in each frame; where there is a checkpoint, what its field was made for.

        Frames are decoded, or what was computed of them before is read.
        """
        if self.checkpoint is None:
            return scene_novelty(self.scene)
        with taking_over(self.checkpoint):
            novelty = self.checkpoint.record.get("scene", {}).get("novelty")
            return None if novelty is None else float(novelty)

    def begun(self) -> Job:
        """The same job with the checkpoint that it begins with, if there is one, and the options that this brings.

        Raises:
            UserError: the checkpoint is missing or unfit, or one is there that should not be.
        """
        path = self._checkpoint_path()
        return self if path is None else self.with_checkpoint(path)

    def with_checkpoint(self, path: Path) -> Job:
        """The same job with a checkpoint; raises UserError where that cannot be read or does not fit."""
        checkpoint = load_checkpoint(path, self.spec.name, self.scene.names)
        with taking_over(checkpoint):
            config, course = settled(self.config, checkpoint, self.trains)
        return replace(self, config=config, course=course, checkpoint=checkpoint)

    def check_scene(self) -> None:
        """Raise UserError where the checkpoint is of another scene; frames are looked at."""
        if self.checkpoint is not None:
            with taking_over(self.checkpoint):
                check_scene(self.checkpoint.record["scene"], self.scene, self.checkpoint.path)

    def check_folder(self) -> None:
        """Raise UserError where the run's folder no longer holds what the job was planned with."""
        if self._checkpoint_path() != (None if self.checkpoint is None else self.checkpoint.path):
            raise UserError(f"{self.folder}: another run was writing there until now; start again")

    def _checkpoint_path(self) -> Path | None:
        """The checkpoint to begin with; None for a fresh training."""
        folder, run = self.folder / "checkpoints", self.config.run
        existing = list_checkpoints(folder)
        if self.trains:
            if existing and not run.resume:
                raise UserError(f"{self.folder}: holds a run already; continue it with --resume or change --expname")
            if not existing:
                return None
        return choose_checkpoint(run.ckpt, folder)


def trains(config: Config) -> bool:
    """Whether a run with this configuration trains."""
    return not (config.evaluation.validate_only or config.evaluation.render_only or config.run.ckpt)


def open_scene(config: SceneConfig, max_side: int | None = None) -> Scene:
    """Read the scene that the configuration names, with images of at most ``max_side`` pixels a side if that is given.

    Raises:
        UserError: it is unfit.
    """
    if not config.datadir:
        raise UserError("no scene: give its folder with --datadir")
    options = ReadOptions(
        downsample=config.downsample,
        max_side=max_side,
        test_cameras=names_in(config.test_cameras),
        exclude_cameras=names_in(config.exclude_cameras),
        cache_dir=Path(config.cache_dir) if config.cache_dir else None,
        bounds=box_numbers(config.bounds),
        near=config.near,
        far=config.far,
    )
    scene = load_scene(config.datadir, options, config.dataset)
    if config.space != "auto":
        scene.space = config.space
    return scene


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` is CUDA where there is one. Raises UserError where it cannot be had."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,2})?", name):
        raise UserError(f"device = {name}: should be auto, cpu, cuda or cuda:N (other devices are not supported)")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device = {name}: there is no CUDA device here; use --device auto or cpu")
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise UserError(f"device = {name}: there are {torch.cuda.device_count()} CUDA devices, from cuda:0 on")
    return device


def check_start(config: Config) -> None:
    """Refuse an ``offset_init`` or ``tracks`` that are not there, before anything costly happens."""
    choice = config.offsets.offset_init
    if choice not in ("auto", "sync", "zero") and not Path(choice).is_file():
        raise UserError(f"offset_init = {choice}: no such file; give auto, sync, zero or an offsets.json")
    if config.start.tracks and not Path(config.start.tracks).exists():
        raise UserError(f"tracks = {config.start.tracks}: no such file or folder")
