"""Frame rates that are stated wrongly: named without a rate for each clock, and found as one with it."""

from dataclasses import replace

import pytest
import torch
from moving_spheres import Spheres, sphere_scene

from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.scene import Scene
from syncnerf.sync import synchronize
from syncnerf.sync.epipolar_cameras import prepare_cameras
from syncnerf.sync.jumps import steady_rate
from syncnerf.sync.speeds import at_speeds, filmed_speeds, scene_at_speeds

OFFSETS = [0.0, 0.11, -0.153, 0.07, 0.02, -0.21]
FILMED = 30.0


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    made = sphere_scene(tmp_path_factory.mktemp("spheres"), OFFSETS, frames=75, spheres=Spheres(6, 3), size=(84, 72))
    made.frame_cache.prepare(made.cameras)
    return made


def stated(scene: Scene, rates: dict[int, float]) -> Scene:
    """The scene with other frame rates in its files than it was filmed at, for some cameras."""
    cameras = tuple(replace(camera, fps=rates.get(index, camera.fps)) for index, camera in enumerate(scene.cameras))
    return replace(scene, cameras=cameras, _frames={})


@pytest.mark.parametrize("rate", [25.0, 60.0])
def test_a_rate_that_is_stated_wrongly_is_named(scene, rate):
    result = synchronize(stated(scene, {3: rate}), audio="off")
    said = f"its motion fits the others' at 30 frames per second, not at {rate:g} as stated"
    check = result.checks["cam03"]
    assert check.verdict != "sure"
    assert check.reason == said
    assert "--drift" in check.advice
    assert [name for name, check in result.checks.items() if "as stated" in check.reason] == ["cam03"]


@pytest.mark.parametrize("rates", [{2: 60.0, 5: 25.0}, {4: 27.3}])
def test_it_is_found_as_a_rate(scene, rates):
    result = synchronize(stated(scene, rates), audio="off", drift=True)
    assert set(result.verdicts.values()) == {"sure"}
    truth = torch.tensor([rates.get(index, FILMED) / FILMED - 1 for index in range(6)], dtype=torch.float64)
    error = (result.rates - truth).abs()
    assert (error < 3 * torch.hypot(result.rates_stderr, result.rates_stderr[result.reference])).all()
    off = align_gauge(result.offsets, scene.true_offsets).abs()
    assert float(off.max()) < 0.1 / FILMED
    assert set(result.remarks) == {scene.names[index] for index in rates}
    assert all("at 30 per second" in said for said in result.remarks.values())


def test_times_are_told_by_the_reference_whatever_its_rate(scene):
    """Scene time is the reference's own: 30 of its frames are 1.25 s of it, if 24 frames are said to be one."""
    result = synchronize(stated(scene, {scene.reference: 24.0}), audio="off", drift=True)
    assert result.reference == scene.reference
    others = torch.arange(6) != scene.reference
    assert (result.rates[others] - 0.25).abs().max() < 0.003
    assert float(align_gauge(result.offsets, 1.25 * scene.true_offsets).abs().max()) < 0.1 / 24
    assert result.verdicts[scene.names[scene.reference]] == "check"


def test_right_rates_are_left_alone_even_where_they_are_doubted(scene):
    result = synchronize(scene, audio="off")
    doubts = {name: replace(result.checks[name], verdict="check", explained=0.0) for name in ("cam02", "cam05")}
    doubted = replace(result, checks=result.checks | doubts)
    assert filmed_speeds(scene.cameras, prepare_cameras(scene), doubted) == {}


def test_two_ways_to_change_speeds_agree(scene):
    speeds = {1: 1.2, 4: 0.5}
    one, two = at_speeds(prepare_cameras(scene), speeds), prepare_cameras(scene_at_speeds(scene, speeds))
    assert one.rates == pytest.approx(two.rates)
    for mine, theirs in zip(one.times, two.times, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("seed", range(3))
def test_a_clock_that_gains_is_told_from_one_that_jumps(seed):
    generator = torch.Generator().manual_seed(seed)
    times = torch.arange(10, dtype=torch.float64) / 2
    errors = torch.full((10,), 2e-3, dtype=torch.float64)
    noise = errors * torch.randn(10, generator=generator, dtype=torch.float64)
    assert steady_rate(times, noise - 0.01 * times, errors) == pytest.approx(-0.01, abs=2e-3)
    assert steady_rate(times, noise + (times > 1.9) / 30, errors) == 0
    assert steady_rate(times, noise, errors) == 0
