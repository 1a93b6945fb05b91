"""tools/make_blender_scene.py's places: sensors, what is rendered of a picture, figures; a tiny film with Blender."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scene_output
import torch
from blender_scenes import clocks, figures, filming, places, rig, sensors, sounds
from blender_scenes.options import parse

from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.ideal_camera import ideal_camera
from syncnerf.scene.lens import Lens, Undistorter
from syncnerf.scene.readers import load_scene

TOOLS = Path(__file__).resolve().parent.parent / "tools"
PLACES = ("hall", "stage", "garden")


@pytest.fixture
def sensor():
    """A camera with everything that a camera can have."""
    return sensors.Sensor(
        width=96,
        height=64,
        focal=70.0,
        centre=(47.0, 33.5),
        distortion=(0.12, -0.03),
        gains=(1.2, 1.0, 0.8),
        noise=0.02,
    )


@pytest.mark.parametrize("k1", [0.12, -0.12])
def test_reading_undoes_the_lens(sensor, k1):
    """A ramp through the tool's lens and the reader's way back is the ramp again."""
    from dataclasses import replace

    lens = replace(sensor, distortion=(k1, -0.2 * k1))
    ideal = sensors.IdealView(lens)
    # 1 level per pixel to the right, 2 downward, from the principal point.
    column, row = np.meshgrid(np.arange(ideal.width), np.arange(ideal.height))
    ramp = (column + 0.5 - ideal.width / 2) + 2.0 * (row + 0.5 - ideal.height / 2)
    distorted = ideal.resample(np.repeat(ramp[..., None], 3, axis=-1), 0, lens.height)
    stored = np.round(distorted * 0.5 + 128.0)
    assert stored.min() >= 0
    assert stored.max() <= 255
    intrinsics = Intrinsics(lens.width, lens.height, lens.focal, lens.focal, *lens.centre)
    intrinsics, undone = ideal_camera(Lens(*lens.distortion), intrinsics)
    read = Undistorter(undone, intrinsics)(stored.astype(np.uint8))[..., 0].astype(float)
    column, row = np.meshgrid(np.arange(lens.width) + 0.5, np.arange(lens.height) + 0.5)
    expected = ((column - lens.centre[0]) + 2.0 * (row - lens.centre[1])) * 0.5
    assert np.abs(read - (expected / undone.zoom + 128.0)).max() < 1.5
    assert np.abs(stored[..., 0] - (expected + 128.0)).max() > 2.0  # there was something to undo


def test_rows_of_the_ideal_view_cover_what_the_sensor_reads(sensor):
    ideal = sensors.IdealView(sensor)
    picture = np.random.default_rng(0).uniform(size=(ideal.height, ideal.width, 3)).astype(np.float32)
    whole = ideal.resample(picture, 0, sensor.height)
    for first, last in ((0, 5), (30, 31), (60, 64)):
        top, bottom = ideal.rows(first, last)
        assert 0 <= top < bottom <= ideal.height
        only = np.full_like(picture, np.nan)
        only[top:bottom] = picture[top:bottom]
        np.testing.assert_array_equal(ideal.resample(only, first, last), whole[first:last])


def test_a_sensor_exposes_balances_and_adds_noise(sensor):
    light = np.full((200, 200, 3), 0.4, dtype=np.float32)
    display = sensor.develop(light, np.random.default_rng(0))
    linear = np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(linear.mean(axis=(0, 1)), [0.48, 0.4, 0.32], atol=5e-4)
    expected = 0.02 * np.sqrt(0.95 * np.array([0.48, 0.4, 0.32]) + 0.05)
    np.testing.assert_allclose(linear.std(axis=(0, 1)), expected, rtol=0.03)
    ramp = np.linspace(0.0, 1.0, 11)
    mixed = sensors.over_white(np.stack([np.zeros(11)] * 3 + [ramp], axis=-1))
    np.testing.assert_allclose(mixed[:, 0], 1.0 - ramp, atol=1e-6)


def test_merging_covers_what_it_was_given():
    merged = filming.merged
    generator = np.random.default_rng(1)
    for _ in range(50):
        corners = generator.integers(0, 300, (4, 2, 2))
        rectangles = [(*c.min(0).tolist(), *(c.max(0) + 1).tolist()) for c in corners]
        covered, again = np.zeros((2, 301, 301), dtype=bool)
        for target, listed in ((covered, rectangles), (again, merged(rectangles))):
            for left, top, right, bottom in listed:
                target[top:bottom, left:right] = True
        assert again[covered].all()
        assert len(merged(rectangles)) <= len(rectangles)
    apart = [(0, 0, 100, 100), (200, 200, 300, 300)]
    assert merged(apart) == apart
    assert merged([(0, 0, 100, 100), (10, 0, 120, 90)]) == [(0, 0, 120, 100)]


@pytest.mark.parametrize("name", PLACES)
def test_what_moves_and_its_shadows_lie_in_their_rectangles(name):
    """Points of the moving parts, and of the lines behind them as seen from the lights, against the rectangles."""
    clock = clocks.CameraClock(30.0, 1)
    place = places.PLACES[name](np.random.default_rng([3, 2]), 6)
    generator = np.random.default_rng(0)
    drawn = sensors.draw_sensors(6, (160, 120), place.angle, place.differences, 0)
    for position, target, sensor in zip(place.positions, place.targets, drawn, strict=True):
        camera = filming.PlaceCamera(None, clock, rig.look_at(position, target), sensor, place, [0])
        size = (camera.ideal.width, camera.ideal.height)
        for group in place.moving:
            moment = generator.uniform(-1.0, 3.0)
            left, top, right, bottom = filming.moving_rectangle(
                group, (moment,), place, camera.projected, size
            ) or (0, 0, 0, 0)  # fmt: skip
            surface = np.concatenate([part.vertices(moment)[::7] for part in group])
            (lamp,) = place.lighting.lights
            away = (
                surface - np.array(lamp.position) if lamp.kind == "AREA" else -np.array([lamp.position] * len(surface))
            )
            ways = np.concatenate([surface + step * away for step in (0.0, 0.2, 1.0, 3.0)])
            ways = ways[((ways > place.box[0]) & (ways < place.box[1])).all(axis=1)]
            pixels, depth = camera.projected(ways)
            seen = pixels[(depth > 0.05) & (pixels > 0).all(axis=1) & (pixels < size).all(axis=1)]
            assert (seen >= [left, top]).all()
            assert (seen <= [right, bottom]).all()


@pytest.mark.parametrize("name", PLACES)
def test_cameras_and_figures_keep_to_their_place(name):
    place = places.PLACES[name](np.random.default_rng([5, 2]), 9)
    assert place.positions.shape == place.targets.shape == (9, 3)
    margin = 0.3
    assert (place.positions > place.box[0] + margin).all()
    assert (place.positions < place.box[1] - margin).all()
    distances = []
    for moment in np.linspace(-1.0, 6.0, 29):
        for group in place.moving:
            points = np.concatenate([part.vertices(moment)[::11] for part in group])
            assert (points > place.box[0] - [0.0, 0.0, 0.25]).all()  # a foot may sink in a little
            assert (points < place.box[1]).all()
            distances.append(np.linalg.norm(points[:, None] - place.positions, axis=-1).min())
    assert min(distances) > 0.3


def test_the_ball_goes_from_hand_to_hand_and_falls_freely():
    place = places.hall(np.random.default_rng(2), 3)
    (ball,) = place.moving[-1]
    times = np.arange(-2.0, 4.0, 1 / 240)
    centres = np.array([ball.pose(time)[:3, 3] for time in times])
    assert np.linalg.norm(np.diff(centres, axis=0), axis=-1).max() * 240 < 12.0
    falls = np.diff(centres[:, 2], n=2) * 240**2
    thrown = [figures.throw_time(k) for k in range(-5, 8)]
    free = np.abs(times[1:-1, None] - thrown).min(axis=1) > 0.01
    np.testing.assert_allclose(falls[free], -9.81, atol=1e-3)
    hands = [next(p for p in group if p.name.endswith("right_arm_lower")) for group in place.moving[:2]]
    for number in range(-2, 4):
        moment = figures.throw_time(number)
        hand = hands[number % 2].pose(moment)[:3, 3]
        assert np.linalg.norm(ball.pose(moment)[:3, 3] - hand) == pytest.approx(0.14, abs=1e-6)  # half a lower arm


@pytest.mark.parametrize("options", [("--rig", "cap"), ("--azimuth-span", "90")])
def test_a_place_has_its_own_rig(options, capsys):
    with pytest.raises(SystemExit):
        parse(["out", "--scene", "hall", *options])
    assert "cameras of its own" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason='needs Blender: pip install "syncnerf[blender]"')
def test_a_tiny_film_of_a_stage(tmp_path):
    command = [sys.executable, str(TOOLS / "make_blender_scene.py"), str(tmp_path / "stage"), "--scene", "stage",
               "--cameras", "2", "--frames", "2", "--size", "64x36", "--samples", "2", "--seed", "4"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True)
    entries = json.loads((tmp_path / "stage" / "transforms.json").read_text())["frames"]
    assert all(entry["k1"] and entry["exposure"] == 0.012 for entry in entries)
    scene = load_scene(tmp_path / "stage")
    assert scene.background is None
    assert len(scene.cameras) == 2
    assert scene.true_offsets is not None
    assert torch.isfinite(scene.bounds).all()
    truth = json.loads((tmp_path / "stage" / "offsets.json").read_text())
    assert np.shape(truth["gains"]) == (2, 3)


def test_cameras_hear_the_ball_later_by_its_way_to_them(tmp_path):
    """The reader of sound finds the lag of two cameras' clocks and of the sound's ways, through AAC."""
    from syncnerf.sync.soundtrack import RATE, soundtrack

    place = places.hall(np.random.default_rng(2), 3)
    fixed = sounds.Claps(place.claps.moment, lambda number: np.array([0.0, 0.0, 1.5]), place.claps.about)
    heard = []
    for number, (offset, distance) in enumerate(((0.0, 1.0), (0.35, 4.43))):
        clock = clocks.CameraClock(20.0, 80, offset=offset)
        sound = sounds.heard(fixed, np.array([distance, 0.0, 1.5]), clock, np.random.default_rng(number))
        with scene_output.SceneVideo(tmp_path / f"{number}.mp4", 32, 32, 20.0, 20) as video:
            video.add_sound(sounds.RATE)
            for _ in range(80):
                video.write_rgb(np.zeros((32, 32, 3), dtype=np.uint8))
            video.write_sound(sound)
        heard.append(soundtrack(tmp_path / f"{number}.mp4").samples(0.0, 4.0))
    shifts = np.fft.irfft(np.conj(np.fft.rfft(heard[0], 1 << 18)) * np.fft.rfft(heard[1], 1 << 18))
    peak = int(np.abs(shifts).argmax())
    late = (peak if peak < 1 << 17 else peak - (1 << 18)) / RATE
    # The second began 0.35 s later, so hears all of it earlier, but 3.43 m farther away by 10 ms later.
    assert late == pytest.approx(-0.35 + 0.01, abs=2e-4)


def test_sound_places_all_cameras_of_a_hall(tmp_path):
    """Claps where the ball is caught, heard round the hall and recorded as AAC: every lag is within its error."""
    from syncnerf.sync.sound import sound_lags

    place = places.hall(np.random.default_rng(2), 3)
    offsets, entries = (0.0, 1.31, -0.72, 0.4), []
    for number, offset in enumerate(offsets):
        position = np.array([3.5 * np.cos(1.7 * number), 3.5 * np.sin(1.7 * number), 1.6])
        clock = clocks.CameraClock(20.0, 160, offset)
        sound = sounds.heard(place.claps, position, clock, np.random.default_rng(number))
        with scene_output.SceneVideo(tmp_path / f"cam{number}.mp4", 32, 32, 20.0, 20) as video:
            video.add_sound(sounds.RATE)
            for _ in range(160):
                video.write_rgb(np.zeros((32, 32, 3), dtype=np.uint8))
            video.write_sound(sound)
        pose = np.eye(4)
        pose[:3, 3] = position
        entries.append({"file_path": f"cam{number}.mp4", "transform_matrix": pose.tolist()})
    (tmp_path / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.9, "frames": entries}))
    lags = sound_lags(load_scene(tmp_path))
    assert len(lags) == 6
    for lag in lags:
        error = lag.lag - (offsets[lag.first] - offsets[lag.second])
        assert abs(error) < lag.deviation < 0.03
    # Nothing is as exact as that: the ways from the hands to the cameras differ by metres.
    assert max(abs(lag.lag - (offsets[lag.first] - offsets[lag.second])) for lag in lags) > 1e-3


def test_a_clap_is_where_the_ball_is_caught():
    place = places.hall(np.random.default_rng(2), 3)
    (ball,) = place.moving[-1]
    for number in (-1, 0, 4):
        moment = place.claps.moment(number)
        np.testing.assert_allclose(place.claps.place(number), ball.pose(moment)[:3, 3])
        before, after = (ball.pose(moment + step)[2, 3] - ball.pose(moment)[2, 3] for step in (-0.02, 0.02))
        assert min(before, after) > 0  # it comes down, and goes up again
