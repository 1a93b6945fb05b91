"""What epipolar comparison knows of every static camera: its motion energy, and the rays through what moves."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.scene import Camera, Scene
from syncnerf.sync.coincidence import grid_begin
from syncnerf.sync.correlation import Informative
from syncnerf.sync.energies import motion_energies
from syncnerf.sync.energy import MotionEnergy
from syncnerf.sync.pencils import LEAST_BASELINE, LINE_WIDTH, PencilView, line_signals, pencil_view
from syncnerf.sync.resampling import resample

GAP = 1.5
"""Frame intervals from which on two frames are too far apart for what changes between them to tell when."""


@dataclass(frozen=True)
class EpipolarCameras:
    """The moving pixels of every camera, ready to be compared pair by pair.

    Attributes:
        energies: each camera's motion energy.
        views: each camera's rays through the moving pixels.
        rates: intervals of its energy per second of each camera's own clock.
        times: where they begin, and the last ends, on that clock, seconds, float64, shape [T] each.
        least_baseline: cameras nearer to each other than this (scene units) share no epipolar planes.
        exact: whether the poses are so exact that equal lines of two cameras show the same.
        whole: whether so little is missing from the videos that finer signals do not feel its edges.
    """

    energies: list[MotionEnergy]
    views: list[PencilView]
    rates: list[float]
    times: list[Float64[Tensor, " _"]]
    least_baseline: float
    exact: bool = False
    whole: bool = False

    @property
    def aligned(self) -> bool:
        """Whether equal lines of two cameras may be compared as they are, at the finest scale."""
        return self.exact and self.whole

    def informative(self, camera: int) -> Bool[Tensor, " I"]:
        """Which intervals between a camera's frames say something about time, bool, shape [T - 1]."""
        gaps = self.times[camera].diff() * self.rates[camera] > GAP
        return self.energies[camera].informative & ~gaps

    def step(self, first: int, second: int) -> float:
        """Seconds per step on which two cameras are compared: the longer of their intervals."""
        return 1 / min(self.rates[camera] for camera in (first, second))

    def begins(self, first: int, second: int) -> tuple[float, float]:
        """Where these steps begin on each of the two cameras' own clocks, seconds."""
        step = self.step(first, second)
        return grid_begin(self.times[first], step), grid_begin(self.times[second], step)

    def signals(
        self, first: int, second: int, line_width: float = LINE_WIDTH
    ) -> tuple[tuple[Float[Tensor, "L T1"], Float[Tensor, "L T2"]], Informative, float]:
        """Energy per line of two cameras on common time steps, shapes [L, T1] and [L, T2], and seconds per step.

        Sample m of either covers m to m + 1 steps from where its steps begin, see :meth:`begins`, by its own clock. In
        between: which samples say something; those in gaps between frames do not.
        """
        pair, step = (first, second), self.step(first, second)
        energies = tuple(self.energies[camera] for camera in pair)
        lines = line_signals(*(self.views[camera] for camera in pair), energies, line_width)
        grids = [(self.times[camera], step, begin) for camera, begin in zip(pair, self.begins(*pair), strict=True)]
        signals = tuple(resample(signal, *grid) for signal, grid in zip(lines, grids, strict=True))
        # A step is informative where all of it is.
        silent = [(~self.informative(camera)).float()[None] for camera in pair]
        lost = [resample(mask, *grid)[0] for mask, grid in zip(silent, grids, strict=True)]
        return signals, tuple(share < 1e-3 for share in lost), step


def prepare_cameras(scene: Scene) -> EpipolarCameras:
    """Motion energy and rays of every camera of a scene.

    Raises:
        UserError: a camera moves, or nothing moves in front of any.
    """
    for camera in scene.cameras:
        if camera.is_moving:
            raise UserError(f"{scene.root}: camera '{camera.name}' moves; synchronise this scene with --method tracks")

    energies = motion_energies(scene)
    if not any(len(energy.pixels) for energy in energies):
        raise UserError(f"{scene.root}: nothing moves in any of the videos; synchronising them needs motion")
    views = [pencil_view(camera, energy) for camera, energy in zip(scene.cameras, energies, strict=True)]
    rates = [camera.fps * energy.pace for camera, energy in zip(scene.cameras, energies, strict=True)]
    times = [_edges(*each) for each in zip(scene.cameras, energies, rates, strict=True)]
    return EpipolarCameras(energies, views, rates, times, least_baseline(views))


def least_baseline(views: list[PencilView]) -> float:
    """Distance below which two of the cameras count as standing in one place, in scene units."""
    centres = torch.stack([view.centre for view in views])
    return LEAST_BASELINE * float(torch.pdist(centres).max()) if len(centres) > 1 else 0.0


def _edges(camera: Camera, energy: MotionEnergy, rate: float) -> Tensor:
    """Where the intervals of a camera's energy begin, and the last ends: at its frames, or at those put back."""
    if energy.pace == 1:
        return camera.frame_times + energy.late
    steps = torch.arange(energy.values.shape[1] + 1, dtype=torch.float64) - energy.delay
    return camera.frame_times[0] + steps / rate + energy.late


def unfit_pair(cameras: EpipolarCameras, first: int, second: int) -> str:
    """Why two cameras share no epipolar lines with motion, whatever their lag; empty if they may."""
    views = cameras.views
    if float((views[first].centre - views[second].centre).norm()) <= cameras.least_baseline:
        return "no baseline (both cameras stand in the same place)"
    if min(len(cameras.energies[camera].pixels) for camera in (first, second)) == 0:
        return "nothing moves in one of the videos"
    lasts = (float(cameras.times[camera][-1]) for camera in (first, second))
    lengths = [last - begin for last, begin in zip(lasts, cameras.begins(first, second), strict=True)]
    if min(lengths) < (1 - 1e-6) * cameras.step(first, second):  # not one sample; rounding takes none away
        return "one video is shorter than the time between two frames of the other"
    return ""
