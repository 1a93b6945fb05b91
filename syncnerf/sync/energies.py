"""Motion energy of all cameras of a scene, and what they say together of frames that their files lack."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from syncnerf.scene import Camera, Scene
from syncnerf.sync.energy import MotionEnergy, motion_energy
from syncnerf.sync.resampling import unrolled
from syncnerf.sync.workers import in_parallel


def motion_energies(scene: Scene) -> list[MotionEnergy]:
    """The motion energy of every camera that stands still.

    Where most files seem to lack frames at equal places, those that show it less plainly than one alone must are looked
    at again as if they did.
    """
    energies = in_parallel(partial(_energy_of, scene), scene.cameras, "motion energy", "camera")
    period = shared_period(energies)
    likely = [index for index, own in enumerate(energies) if period and own.lacking == period and own.pace == 1]
    if likely:
        cameras = [scene.cameras[index] for index in likely]
        again = in_parallel(partial(_energy_of, scene, lacking=period), cameras, "lost frames", "camera")
        for index, own in zip(likely, again, strict=True):
            energies[index] = own
    return energies


def shared_period(energies: Sequence[MotionEnergy]) -> int:
    """The period after which each of at least half of the cameras' files seems to lack a frame; 0 if there is none."""
    periods = [energy.lacking for energy in energies]
    usual = max(set(periods) - {0}, key=periods.count, default=0)
    return usual if 2 * periods.count(usual) >= len(periods) else 0


def _energy_of(scene: Scene, camera: Camera, lacking: int = 0) -> MotionEnergy:
    # Opened one by one rather than kept by the scene, so that mapped frames do not pile up in memory.
    even = _is_even(camera.frame_times, 1 / camera.fps)
    return unrolled(motion_energy(scene.frame_cache.open(camera), even, lacking), camera)


def _is_even(times: Tensor, step: float) -> bool:
    """Whether frames follow each other by one step."""
    return bool(((times.diff() - step).abs() < 1e-2 * step).all())
