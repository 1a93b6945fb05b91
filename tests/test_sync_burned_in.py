"""Clocks and marks that are burned into videos are found, told and left out; what moves is not taken for one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from moving_spheres import Spheres, sphere_scene
from odd_recordings import damaged

from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.scene import Scene
from syncnerf.sync import synchronize
from syncnerf.sync.burned_in import Patch, burned_in
from syncnerf.sync.energy import motion_energy
from syncnerf.sync.outlines import outlines

OFFSETS = [0.0, 0.11, -0.153, 0.07, 0.02]
DRAWN = ["burned-in clock", "burned-in mark"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    made = sphere_scene(tmp_path_factory.mktemp("spheres"), OFFSETS, frames=75, spheres=Spheres(6, 1), size=(112, 96))
    made.frame_cache.prepare(made.cameras)
    return made


def changed(scene: Scene, odd: Scene, camera: int) -> torch.Tensor:
    """Where what was drawn into a camera's pictures changes from frame to frame, bool, shape [height, width]."""
    drawn = odd.frames(camera).astype(int)
    there = (drawn != scene.frames(camera)).any((0, 3))
    return torch.from_numpy(there & ((np.abs(np.diff(drawn, axis=0)).sum(-1) > 200).mean(0) > 0.04))


@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_burned_in_is_found_where_it_was_drawn_and_nowhere_else(scene, kind):
    odd = damaged(scene, kind, 1)
    for camera in range(len(scene.cameras)):
        assert motion_energy(scene.frames(camera)).burned == ()
        energy = motion_energy(odd.frames(camera))
        assert len(energy.burned) == 1
        row, column = np.nonzero((odd.frames(camera) != scene.frames(camera)).any((0, 3)))
        patch = energy.burned[0]
        assert patch.area < 2.5 * (np.ptp(row) + 7) * (np.ptp(column) + 7)
        fast = changed(scene, odd, camera).nonzero()
        assert patch.holds(fast[:, 0], fast[:, 1]).all()
        left = energy.pixels.div(energy.width, rounding_mode="floor"), energy.pixels % energy.width
        assert not patch.holds(*left).any()


@pytest.mark.parametrize("kind", DRAWN)
def test_offsets_are_those_without_it_and_it_is_told(scene, kind, caplog):
    odd = damaged(scene, kind, 1)
    result = synchronize(odd, audio="off")
    change = align_gauge(result.offsets, synchronize(scene, audio="off").offsets) / scene.frame_interval
    assert change.abs().max() < 0.01
    assert set(result.verdicts.values()) == {"sure"}
    assert set(result.remarks) == set(scene.names)
    told = [record.getMessage() for record in caplog.records if "burned in" in record.getMessage()]
    assert len(told) == len(scene.cameras)
    assert told[0].startswith(f"camera {scene.names[0]}: something burned in (")


def test_regular_pictures_are_told_nothing(scene):
    assert synchronize(scene, audio="off").remarks == {}


def test_nothing_in_a_patch_is_an_outline(scene):
    odd = damaged(scene, "burned-in clock", 1)
    told = torch.ones(75, dtype=torch.bool)
    patch = motion_energy(odd.frames(0)).burned[0]
    sky = replace(odd, background=None)
    without, with_it = (outlines(sky, 0, told, burned=burned) for burned in ((patch,), ()))
    assert int(without.cut.sum()) <= int(with_it.cut.sum())
    count = [int((~each.view.rays[:, 0].isnan()).sum()) for each in (without, with_it)]
    assert count[0] < count[1]


def fan(middle: tuple[float, float], step: float, count: int = 60) -> np.ndarray:
    """A white wheel of four blades that turns by ``step`` radians a frame on grey, uint8, shape [count, 96, 96, 3]."""
    row, column = (np.indices((384, 384)) + 0.5) / 4 - np.array(middle)[:, None, None]
    radius, angle = np.hypot(row, column), np.arctan2(row, column)
    frames = []
    for index in range(count):
        blade = (np.cos(4 * (angle - step * index)) > 0) & (radius < 7)
        shade = blade.reshape(96, 4, 96, 4).mean((1, 3))
        frames.append(60 + 180 * shade)
    return np.stack([np.stack(frames)] * 3, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("step", [0.11, 0.3, 0.47, 0.7])
@pytest.mark.parametrize("middle", [(48.0, 48.0), (12.0, 12.5), (14.3, 80.2)])
def test_a_fan_is_not_burned_in(middle, step):
    assert motion_energy(fan(middle, step)).burned == ()


def test_by_hand():
    """Pixels of a 40 x 60 map: a patch that changes wholly by chance, one with equal pauses, and one with unequal."""
    generator = torch.Generator().manual_seed(1)
    energy = torch.zeros(40, 60, 90)
    energy[4:9, 6:10] = 400.0 * (torch.rand(5, 4, 90, generator=generator) < 0.5)
    energy[32:36, 50:54, 7::15] = 300.0
    energy[20:24, 3:7, [5, 20, 50, 70]] = 300.0
    values, pixels = energy.flatten(0, 1).half(), torch.arange(2400)
    assert burned_in(values, pixels, (40, 60)) == (Patch(1, 12, 0, 21), Patch(29, 39, 47, 57))
    assert burned_in(values[:, :15], pixels, (40, 60)) == ()
    # The first now lies in the middle, the second at the upper border.
    moved = energy.roll((12, 20), (0, 1)).flatten(0, 1).half()
    assert burned_in(moved, pixels, (40, 60)) == (Patch(1, 11, 7, 17),)
