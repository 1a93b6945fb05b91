"""From an effective configuration to a scene, a field behind its clock, and the sampler that feeds it."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from syncnerf.backend import BackendSpec, Execution, NormalizedDeviceCoordinates, SceneGeometry, find_backend
from syncnerf.camera_colours import CameraColours
from syncnerf.clock import Clock, ClockSpan
from syncnerf.clock_prior import ClockStart
from syncnerf.compilation import compilation_pays
from syncnerf.config import Config, SceneConfig
from syncnerf.encodings.engines import choose_engine
from syncnerf.errors import UserError
from syncnerf.offsets_file import read_offsets, read_rates
from syncnerf.sampling.rays import RaySampler
from syncnerf.sampling.time_series import TimeSeriesSampler
from syncnerf.sampling.views import ViewSampler
from syncnerf.scene import Scene, load_scene
from syncnerf.scene.read_options import ReadOptions, box_numbers, names_in
from syncnerf.scene.visual_hull import can_be_carved, visual_hull
from syncnerf.sync import SyncResult, only_sure, synchronize
from syncnerf.sync.synchronize import WORKING_SIDE
from syncnerf.synced import SyncedBackend

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assembly:
    """What a run works with: the scene, the backend's spec, the field behind its clock, the device."""

    scene: Scene
    spec: BackendSpec
    synced: SyncedBackend
    device: torch.device


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


def assemble(config: Config, scene: Scene, stored: dict[str, Any] | None = None) -> Assembly:
    """Build the clock and the field for a scene; the clock first, since the field's time spans what it corrects.

    Args:
        config: the effective configuration.
        scene: the scene, its frames decoded.
        stored: the checkpoint that will replace all parameters, so that nothing costly is computed; None to start anew.
    """
    spec = find_backend(config.run.backend)
    device = choose_device(config.training.device)
    engine = choose_engine(config.training.engine, device)
    torch.manual_seed(config.training.seed)
    # A checkpoint brings its own cells: the field must then only have the place for them that it was saved with.
    everywhere = torch.ones(1, 1, 1, dtype=torch.bool) if can_be_carved(scene) else None
    hull = visual_hull(scene) if stored is None else everywhere
    clock = make_clock(config, scene, starting_clock(config, scene) if stored is None else None)
    if stored is not None:
        clock.range.copy_(stored["model"]["clock.range"])
    geometry = scene_geometry(scene, clock.frame_count(scene.frame_interval), config.training.steps, hull)
    execution = Execution(
        engine=engine,
        fixed_shapes=device.type == "cuda",
        compiled=compilation_pays(config.training.compile, config.training.steps),
        rays_at_once=config.evaluation.render_chunk,
    )
    backend = spec.build(config.field, geometry, execution)
    alike = scene.background is not None
    colours = CameraColours(config.colours, len(scene.cameras), scene.test, known=alike)
    return Assembly(scene, spec, SyncedBackend(clock, backend, colours).to(device), device)


def make_clock(config: Config, scene: Scene, start: ClockStart | None = None) -> Clock:
    """The clock of a scene's cameras, from what is known of it beforehand."""
    # Cameras that are synchronised by construction have nothing to learn.
    settings = replace(config.offsets, offset_mode="off") if scene.synchronised else config.offsets
    times = [camera.frame_times for camera in scene.cameras]
    first, last = torch.stack([part[0] for part in times]), torch.stack([part[-1] for part in times])
    span = ClockSpan(first, last, scene.frame_interval)
    row_times = torch.tensor([camera.row_time for camera in scene.cameras], dtype=torch.float64)
    return Clock(settings, span, scene.reference, config.training.steps, start, scene.test, row_times)


def scene_geometry(scene: Scene, frame_count: int, steps: int, hull: Tensor | None) -> SceneGeometry:
    """What the backend may know of the scene: space and time, never a camera."""
    ndc = None
    if scene.space == "ndc":
        size = scene.cameras[0].intrinsics
        ndc = NormalizedDeviceCoordinates(size.width, size.height, size.focal_x)
    return SceneGeometry(
        bounds=scene.field_bounds,
        near=scene.near,
        far=scene.far,
        frame_count=frame_count,
        steps=steps,
        contraction=scene.space == "contraction",
        ndc=ndc,
        background=scene.background,
        occupied=hull,
    )


def check_start(config: Config) -> None:
    """Refuse an ``offset_init`` that is neither a known word nor a file, before anything costly happens."""
    choice = config.offsets.offset_init
    if choice not in ("auto", "sync", "zero") and not Path(choice).is_file():
        raise UserError(f"offset_init = {choice}: no such file; give auto, sync, zero or an offsets.json")


def starting_clock(config: Config, scene: Scene) -> ClockStart | None:
    """What is known of the clock before a training, by the option ``offset_init``; None for nothing.

    ``auto`` takes the offsets that synchronisation from motion calls sure, and turns to nothing where these are fewer
    than half of the cameras; ``sync`` takes all that are determined.
    """
    choice = config.offsets.offset_init
    if scene.synchronised or config.offsets.offset_mode == "off" or choice == "zero":
        return None
    if choice not in ("auto", "sync"):
        return ClockStart(read_offsets(Path(choice), scene.names), read_rates(Path(choice), scene.names))
    try:
        result = _synchronized(scene_to_synchronize(config.scene, scene), config.offsets.offset_rates == "learn")
    except UserError as error:
        if choice == "sync":
            raise
        logger.warning("offsets start from zero: %s", error)
        return None
    if choice == "auto":
        result = only_sure(result)
    for name, reason in result.reasons.items():
        logger.warning("camera %s cannot be synchronised from motion (%s); its offset starts at 0", name, reason)
    if choice == "auto" and 2 * len(result.reasons) > len(scene.cameras):
        logger.warning("offsets start from zero: motion tells too few of them")
        return None
    rates = None if result.rates is None else result.rates.nan_to_num(0.0)
    return ClockStart(result.offsets, rates, result.covariance, result.rates_stderr)


def scene_to_synchronize(config: SceneConfig, scene: Scene) -> Scene:
    """The scene with larger images, where training's are smaller than synchronisation could use."""

    def largest(some: Scene) -> int:
        return max(max(camera.intrinsics.width, camera.intrinsics.height) for camera in some.cameras)

    if not config.datadir or largest(scene) >= WORKING_SIDE:
        return scene
    larger = open_scene(replace(config, downsample=1.0), WORKING_SIDE)
    return larger if largest(larger) > largest(scene) else scene


def _synchronized(scene: Scene, with_rates: bool) -> SyncResult:
    """Offsets from motion, with rates where they are asked for and can be told."""
    if with_rates:
        try:
            return synchronize(scene, drift=True)
        except UserError as error:
            logger.warning("rates start from zero: %s", error)
    return synchronize(scene)


def make_sampler(config: Config, spec: BackendSpec, scene: Scene) -> RaySampler | TimeSeriesSampler | ViewSampler:
    """The batch supply that the backend's spec asks for."""
    if spec.trains_on == "views":
        return ViewSampler(scene, config.sampling)
    if spec.trains_on == "time_series":
        return TimeSeriesSampler(scene, config.sampling)
    return RaySampler(scene, config.sampling, config.training.steps)
