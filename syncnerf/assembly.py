"""From a job to a field behind its clock, and the batches that feed it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from syncnerf.backend import Execution
from syncnerf.camera_colours import CameraColours
from syncnerf.camera_times import ClockSpan
from syncnerf.clock import Clock
from syncnerf.clock_prior import ClockStart
from syncnerf.compilation import compilation_pays
from syncnerf.config import Config, SceneConfig
from syncnerf.errors import UserError
from syncnerf.freed_memory import give_back
from syncnerf.given_start import start_of_file
from syncnerf.job import Job, open_scene
from syncnerf.option import DISTANCE_WEIGHT, option_values
from syncnerf.sampling.ray_batches import RayBatches
from syncnerf.sampling.time_series_batches import TimeSeriesBatches
from syncnerf.sampling.view_batches import ViewBatches
from syncnerf.scene import Scene
from syncnerf.scene.geometry import NormalizedDeviceCoordinates, SceneGeometry
from syncnerf.scene.moment_hulls import moment_hulls
from syncnerf.scene.moving_hulls import moving_hulls
from syncnerf.scene.overlooked_cells import overlooked_cells
from syncnerf.scene.readers import told_already
from syncnerf.scene.stereo import can_be_compared
from syncnerf.scene.still_views import still_views
from syncnerf.scene.visual_hull import can_be_carved, visual_hull
from syncnerf.starting.start import starting_points
from syncnerf.sync import SyncResult, only_sure, synchronize
from syncnerf.sync.synchronize import WORKING_SIDE
from syncnerf.synced import SyncedBackend
from syncnerf.training.checkpoints import taking_over

logger = logging.getLogger(__name__)

KNOWN_ERRORS, ROOM = 4.0, 0.1
"""Standard errors by which a camera's clock may be wrong, and frames by which all of them may move in a training."""


def assemble(job: Job) -> SyncedBackend:
    """Build the clock and the field for a job; the clock first, since the field's time spans what it corrects.

    Where the job has a checkpoint, that will replace all parameters: nothing costly is computed. Frames are decoded.
    """
    config, scene, checkpoint = job.config, job.scene, job.checkpoint
    torch.manual_seed(config.training.seed)
    # A checkpoint brings its own cells: the field must then only have the place for them that it was saved with.
    everywhere = torch.ones(1, 1, 1, dtype=torch.bool) if can_be_carved(scene) else None
    hull = visual_hull(scene) if checkpoint is None else everywhere
    clock = make_clock(config, scene, starting_clock(config, scene) if checkpoint is None else None)
    if checkpoint is not None:
        with taking_over(checkpoint):
            clock.range.copy_(checkpoint.record["model"]["clock.range"])
            if not clock.range.isfinite().all():
                raise ValueError("the clock's range is not finite")
    frame_count = clock.frame_count(scene.frame_interval)
    geometry = scene_geometry(scene, frame_count, config.training.steps, hull, job.novelty)
    if job.spec.starts_from_points and checkpoint is None:
        geometry = replace(geometry, points=starting_points(scene, clock, hull, config.start))
    intervals = 1 if job.spec.carves is None else job.spec.carves(config.backend_options)
    if intervals > 1 and checkpoint is None and hull is not None:
        occupied, moving = hulls_of_moments(scene, clock, hull, intervals, job.spec.tells_still)
        geometry = replace(geometry, occupied_at=occupied, moving_at=moving)
    execution = Execution(
        engine=job.engine,
        fixed_shapes=job.device.type == "cuda",
        compiled=compilation_pays(config.training.compile, config.training.steps),
        rays_at_once=config.evaluation.render_chunk,
    )
    backend = job.spec.build(config.backend_options, geometry, execution)
    give_back()
    alike = scene.background is not None
    colours = CameraColours(config.colours, len(scene.cameras), scene.test, known=alike)
    return SyncedBackend(clock, backend, colours).to(job.device)


def make_clock(config: Config, scene: Scene, start: ClockStart | None = None) -> Clock:
    """The clock of a scene's cameras, from what is known of it beforehand."""
    # Cameras that are synchronised by construction have nothing to learn.
    settings = replace(config.offsets, offset_mode="off") if scene.synchronised else config.offsets
    times = [camera.frame_times for camera in scene.cameras]
    first, last = torch.stack([part[0] for part in times]), torch.stack([part[-1] for part in times])
    span = ClockSpan(first, last, scene.frame_interval)
    row_times = torch.tensor([camera.row_time for camera in scene.cameras], dtype=torch.float64)
    places = torch.stack([camera.pose(camera.frame_count // 2)[:3, 3].double() for camera in scene.cameras])
    return Clock(settings, span, scene.reference, config.training.steps, start, scene.test, row_times, places)


def scene_geometry(
    scene: Scene, frame_count: int, steps: int, hull: Bool[Tensor, "X Y Z"] | None, novelty: float | None
) -> SceneGeometry:
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
        novelty=novelty,
        contraction=scene.space == "contraction",
        ndc=ndc,
        background=scene.background,
        occupied=hull,
        overlooked=overlooked_cells(scene),
    )


@torch.no_grad()
def hulls_of_moments(
    scene: Scene, clock: Clock, hull: Bool[Tensor, "X Y Z"], intervals: int, tells_still: bool = False
) -> tuple[Bool[Tensor, "T X Y Z"] | None, Bool[Tensor, "T X Y Z"] | None]:
    """Cells of a hull that may hold something in equal intervals of the field's time, and those of what moves.

    Both are None where clocks are unknown, the latter also unless ``tells_still``.
    """
    train = torch.tensor(scene.train)
    errors = torch.zeros(len(train), dtype=torch.float64) if scene.synchronised else clock.prior.variances.sqrt()[train]
    if clock.unknown_count > 1:
        errors = errors + clock.prior.skews_stderr.cpu()[train]
    if not errors.isfinite().any():
        return None, None
    late = KNOWN_ERRORS * errors + ROOM * scene.frame_interval + clock.row_times.abs().cpu()[train]
    slack = clock.spans(late)
    times = [clock(index.expand(scene.cameras[index].frame_count), scene.cameras[index].frame_times) for index in train]
    occupied = moment_hulls(scene, hull, intervals, times, slack.tolist())
    return occupied, moving_hulls(scene, occupied, times, slack.tolist()) if tells_still else None


def starting_clock(config: Config, scene: Scene) -> ClockStart | None:
    """What is known of the clock before a training, by the option ``offset_init``; None for nothing.

    ``auto`` takes the offsets that synchronisation from motion calls sure, names the other cameras, whose offsets start
    at 0 until the field tells them (:mod:`syncnerf.lost_clocks`), and turns to nothing where fewer than half are sure;
    ``sync`` takes all that are determined, and a file all that it determines (:mod:`syncnerf.given_start`).
    """
    choice = config.offsets.offset_init
    if scene.synchronised or config.offsets.offset_mode == "off" or choice == "zero":
        return None
    if choice not in ("auto", "sync"):
        return start_of_file(Path(choice), scene)
    try:
        result = _synchronized(scene_to_synchronize(config.scene, scene), config.offsets.offset_rates == "learn")
    except UserError as error:
        if choice == "sync":
            raise
        logger.warning("offsets start from zero: %s", error)
        return None
    believed = only_sure(result) if choice == "auto" else result
    few = choice == "auto" and 2 * len(believed.reasons) > len(scene.cameras)
    then = "" if few else "; its offset starts at 0, and is sought in the field that the others make"
    for name, reason in believed.reasons.items():
        if name in result.reasons:
            logger.warning("camera %s cannot be synchronised from motion (%s)%s", name, reason, then)
        else:
            logger.warning("camera %s: %s%s (offset_init sync: starts where motion says)", name, reason, then)
    if few:
        logger.warning("offsets start from zero: motion tells too few of them")
        return None
    rates = None if believed.rates is None else believed.rates.nan_to_num(0.0)
    middles = torch.stack([camera.frame_times[[0, -1]].mean() for camera in scene.cameras])
    return ClockStart(believed.offsets, rates, believed.covariance_at(middles), believed.rates_stderr)


def scene_to_synchronize(config: SceneConfig, scene: Scene) -> Scene:
    """The scene with larger images, where training's are smaller than synchronisation could use."""

    def largest(some: Scene) -> int:
        return max(max(camera.intrinsics.width, camera.intrinsics.height) for camera in some.cameras)

    if not config.datadir or largest(scene) >= WORKING_SIDE:
        return scene
    with told_already():
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


def make_batches(job: Job) -> RayBatches | TimeSeriesBatches | ViewBatches:
    """The batch supply that the backend's spec asks for."""
    scene, settings = job.scene, job.config.sampling
    weighed = job.spec.learns_distances and option_values(job.config.backend_options).get(DISTANCE_WEIGHT, 1.0) > 0
    stereo = settings.stereo == "auto" and weighed and can_be_compared(scene)
    still = still_views(scene) if stereo else None
    if job.spec.trains_on == "views":
        return ViewBatches(scene, settings)
    if job.spec.trains_on == "time_series":
        return TimeSeriesBatches(scene, settings, still)
    return RayBatches(scene, settings, job.config.training.steps, still)
