"""From an effective configuration to a scene, a field behind its offsets, and the sampler that feeds it."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from syncnerf.backend import BackendSpec, NormalizedDeviceCoordinates, SceneGeometry, find_backend
from syncnerf.compilation import compilation_pays
from syncnerf.config import Config, SceneConfig
from syncnerf.encodings.engines import choose_engine
from syncnerf.errors import UserError
from syncnerf.offsets_file import read_offsets
from syncnerf.sampling.rays import RaySampler
from syncnerf.sampling.time_series import TimeSeriesSampler
from syncnerf.scene import Scene, load_scene
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.visual_hull import can_be_carved, visual_hull
from syncnerf.sync import synchronize
from syncnerf.synced import SyncedBackend
from syncnerf.time_offsets import TimeOffsets

logger = logging.getLogger(__name__)

MOMENTS_AT_ONCE = 64
PIXELS_AT_ONCE = 2**24
"""Pixels of rendered images, with all that is kept of each (44 bytes), that are in memory at a time."""


@dataclass(frozen=True)
class Assembly:
    """What a run works with: the scene, the backend's spec, the field behind its offsets, the device."""

    scene: Scene
    spec: BackendSpec
    synced: SyncedBackend
    device: torch.device

    @property
    def times_at_once(self) -> int:
        """Moments to ask of a ray in one call while evaluating: as many as their images may be held at once."""
        if self.spec.batch != "time_series":
            return 1
        sizes = [self.scene.cameras[index].intrinsics for index in self.scene.test]
        return max(1, min(MOMENTS_AT_ONCE, PIXELS_AT_ONCE // max(size.width * size.height for size in sizes)))


def open_scene(config: SceneConfig) -> Scene:
    """Read the scene that the configuration names; raises UserError where it is unfit."""
    if not config.datadir:
        raise UserError("no scene: give its folder with --datadir")
    options = ReadOptions(
        downsample=config.downsample,
        test_cameras=_names(config.test_cameras),
        exclude_cameras=_names(config.exclude_cameras),
        cache_dir=Path(config.cache_dir) if config.cache_dir else None,
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


def assemble(config: Config, scene: Scene, fresh: bool) -> Assembly:
    """Build the field and the offsets for a scene.

    Args:
        config: the effective configuration.
        scene: the scene, its frames decoded.
        fresh: parameters start anew; False where a checkpoint will replace them, so that nothing costly is computed.
    """
    spec = find_backend(config.run.backend)
    device = choose_device(config.training.device)
    engine = choose_engine(config.training.engine, device)
    torch.manual_seed(config.training.seed)
    # A checkpoint brings its own cells: the field must then only have the place for them that it was saved with.
    everywhere = torch.ones(1, 1, 1, dtype=torch.bool) if can_be_carved(scene) else None
    hull = visual_hull(scene) if fresh else everywhere
    geometry = replace(
        scene_geometry(scene, config.training.steps, hull),
        engine=engine,
        fixed_shapes=device.type == "cuda",
        compiled=compilation_pays(config.training.compile, config.training.steps),
    )
    backend = spec.build(config.field, geometry)
    # Cameras that are synchronised by construction have nothing to learn.
    offset_config = replace(config.offsets, offset_mode="off") if scene.synchronised else config.offsets
    offsets = TimeOffsets(
        offset_config,
        len(scene.cameras),
        scene.reference,
        scene.duration,
        config.training.steps,
        starting_offsets(config, scene) if fresh else None,
        scene.test,
    )
    return Assembly(scene, spec, SyncedBackend(offsets, backend).to(device), device)


def scene_geometry(scene: Scene, steps: int, hull: Tensor | None) -> SceneGeometry:
    """What the backend may know of the scene: space and time, never a camera."""
    ndc = None
    if scene.space == "ndc":
        size = scene.cameras[0].intrinsics
        ndc = NormalizedDeviceCoordinates(size.width, size.height, size.focal_x)
    return SceneGeometry(
        bounds=scene.field_bounds,
        near=scene.near,
        far=scene.far,
        # A video of a single frame still needs a clock that runs.
        duration=max(scene.duration, scene.frame_interval),
        frame_count=max(camera.frame_count for camera in scene.cameras),
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


def starting_offsets(config: Config, scene: Scene) -> Tensor | None:
    """Offsets that training starts from, seconds [C], by the option ``offset_init``; None for zero.

    ``auto`` turns to zero where synchronisation from motion finds fewer than half of the cameras.
    """
    choice = config.offsets.offset_init
    if scene.synchronised or config.offsets.offset_mode == "off" or choice == "zero":
        return None
    if choice not in ("auto", "sync"):
        return read_offsets(Path(choice), scene.names).nan_to_num(0.0)
    try:
        result = synchronize(scene)
    except UserError as error:
        if choice == "sync":
            raise
        logger.warning("offsets start from zero: %s", error)
        return None
    for name, reason in result.reasons.items():
        logger.warning("camera %s cannot be synchronised from motion (%s); its offset starts at 0", name, reason)
    if choice == "auto" and 2 * len(result.reasons) > len(scene.cameras):
        logger.warning("offsets start from zero: motion tells too few of them")
        return None
    return result.offsets.nan_to_num(0.0)


def make_sampler(config: Config, spec: BackendSpec, scene: Scene) -> RaySampler | TimeSeriesSampler:
    """The batch supply that the backend's spec asks for."""
    if spec.batch == "time_series":
        return TimeSeriesSampler(scene, config.sampling)
    return RaySampler(scene, config.sampling, config.training.steps)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
