"""Motion energy of all cameras of a scene, which decide together whether files lack frames or repeat them."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from syncnerf.scene import Camera, Scene
from syncnerf.sync.blocks import blocks_shown, coded_cameras
from syncnerf.sync.energy import MotionEnergy, motion_energy
from syncnerf.sync.pulldown import EVEN, EVEN_AMONG_EVEN, EVEN_AMONG_UNEVEN
from syncnerf.sync.resampling import unrolled
from syncnerf.sync.workers import in_parallel

LEAST_REPEATED = 0.05
"""Share of a file's frames that repeat others, from which on it counts."""
SAME_SHARE = 0.25
"""Part by which these shares of two files may differ and still be those of one way to repeat frames."""


def motion_energies(scene: Scene) -> list[MotionEnergy]:
    """The motion energy of every camera that stands still.

    Where most files seem to lack frames at equal places, the others that only may are analysed again as if they did.
    Where files repeat frames, most of them decide whether that hides motion or belongs to a film, and the others are
    analysed again accordingly.
    """
    cameras = scene.cameras
    shown = in_parallel(lambda own: blocks_shown(scene.frame_cache.open(own)), cameras, "compression", "camera")
    told = list(zip(cameras, coded_cameras(shown), strict=True))
    energies = in_parallel(partial(_energy_of, scene), told, "motion energy", "camera")

    def look_again(cameras: Sequence[int], name: str, **as_if: float) -> None:
        again = in_parallel(partial(_energy_of, scene, **as_if), [told[i] for i in cameras], name, "camera")
        for index, own in zip(cameras, again, strict=True):
            energies[index] = own

    period = shared_period(energies)
    likely = [index for index, own in enumerate(energies) if period and own.lacking == period and own.pace == 1]
    if likely:
        look_again(likely, "lost frames", lacking=period)
    odd, lost = odd_repeats(energies)
    if odd:
        look_again(odd, "repeated frames", lost=lost)
    return energies


def shared_period(energies: Sequence[MotionEnergy]) -> int:
    """The period after which each of at least half of the cameras' files seems to lack a frame; 0 if there is none."""
    periods = [energy.lacking for energy in energies]
    usual = max(set(periods) - {0}, key=periods.count, default=0)
    return usual if 2 * periods.count(usual) >= len(periods) else 0


def odd_repeats(energies: Sequence[MotionEnergy]) -> tuple[list[int], float]:
    """The files whose repeated frames were read as a film's while those of most others hide motion, or vice versa.

    Returns:
        Their indices, and what share of the motion may seem lost by a film's repeats there, see
        :func:`~syncnerf.sync.pulldown.find_pulldown`.
    """
    films = {index: 1 - own.pace for index, own in enumerate(energies) if own.pace < 1}
    # A repeated frame divides two intervals: the one without motion and the next.
    stutters = {index: own.divided / 2 for index, own in enumerate(energies) if own.pace == 1}
    repeated = [{index: share for index, share in kind.items() if share > LEAST_REPEATED} for kind in (films, stutters)]
    few, many = sorted(repeated, key=len)
    usual = sorted(many.values())[len(many) // 2] if many else 0.0
    if len(few) == len(many):
        return [], EVEN
    odd = [index for index, share in few.items() if abs(share - usual) < SAME_SHARE * usual]
    return odd, EVEN_AMONG_UNEVEN if few is repeated[0] else EVEN_AMONG_EVEN


def _energy_of(scene: Scene, told: tuple[Camera, bool], lacking: int = 0, lost: float = EVEN) -> MotionEnergy:
    """The energy of one camera; ``told`` also says whether its video is strongly compressed."""
    camera, coded = told
    # Opened one by one rather than kept by the scene, so that mapped frames do not pile up in memory.
    even = _is_even(camera.frame_times, 1 / camera.fps)
    return unrolled(motion_energy(scene.frame_cache.open(camera), even, lacking, lost, coded), camera)


def _is_even(times: Tensor, step: float) -> bool:
    """Whether frames follow each other by one step."""
    return bool(((times.diff() - step).abs() < 1e-2 * step).all())
