"""Videos under other cameras' names are noticed, and named; right names are left alone."""


import pytest
import torch
from moving_spheres import Arc, Spheres, sphere_scene
from odd_recordings import damaged

from syncnerf.scene import Scene
from syncnerf.sync import synchronize
from syncnerf.sync.epipolar_cameras import prepare_cameras
from syncnerf.sync.exchanges import exchanged_videos, shifted_videos

OFFSETS = [0.0, 0.11, -0.153, 0.07, 0.02, -0.21]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    made = sphere_scene(tmp_path_factory.mktemp("spheres"), OFFSETS, frames=60, spheres=Spheres(6, 3), size=(84, 72))
    made.frame_cache.prepare(made.cameras)
    return made


@pytest.mark.parametrize("seed", range(2))
def test_neighbours_with_each_others_videos_are_named(scene, seed):
    odd = damaged(scene, "videos swapped", seed)
    wrong = sorted(name for name, shown in odd.frame_cache.odd.items() if shown.source)
    assert len(wrong) == 2
    result = synchronize(odd, audio="off")
    said = f"the videos of {wrong[0]} and {wrong[1]} fit better exchanged"
    told = {name for name, check in result.checks.items() if said in check.reason + check.advice}
    assert told == set(wrong)
    assert not any("exchanged" in result.checks[name].reason for name in result.names if name not in wrong)
    for name in wrong:
        assert result.verdicts[name] != "sure"
        assert "the wrong way round" in result.checks[name].advice


def test_videos_in_another_order_than_the_poses_are_seen(scene):
    result = synchronize(damaged(scene, "videos renamed", 0), audio="off")
    # What each camera has is the video of the one before.
    said = "each video fits the camera before its own better, that of cam00 fits cam05"
    assert "sure" not in result.verdicts.values()
    assert all(said in check.reason + check.advice for check in result.checks.values())


def test_right_names_are_left_alone_even_where_all_are_asked(scene):
    prepared = prepare_cameras(scene)
    for suspected in ([0, 1], [2, 3, 4], range(6)):
        shares = torch.ones(6)
        shares[list(suspected)] = 0.1
        assert exchanged_videos(scene.cameras, prepared, shares + 1e-3) == {}
        assert shifted_videos(scene.cameras, prepared, shares) == {}
    assert synchronize(scene, audio="off").verdicts == dict.fromkeys(scene.names, "sure")


def test_few_cameras_are_enough(tmp_path):
    arc = Arc(span=80)
    scene = sphere_scene(tmp_path, OFFSETS[:3], frames=60, spheres=Spheres(6, 3), size=(84, 72), arc=arc)
    scene.frame_cache.prepare(scene.cameras)
    odd = damaged(scene, "videos swapped", 0)
    wrong = {name for name, shown in odd.frame_cache.odd.items() if shown.source}
    told = exchanged_videos(odd.cameras, prepare_cameras(odd), torch.tensor([1.0, 0.1, 0.1]))
    assert set(told) == wrong == {"cam01", "cam02"}
    assert exchanged_videos(scene.cameras, prepare_cameras(scene), torch.tensor([1.0, 0.1, 0.1])) == {}
