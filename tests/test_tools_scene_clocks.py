"""tools/make_blender_scene.py's clocks: offsets of every kind, rates, rows' times, and what it writes of them."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import make_blender_scene
import numpy as np
import pytest
import scene_output
from blender_scenes import clocks, filming, flight, motion, options

TOOLS = Path(__file__).resolve().parent.parent / "tools"


def asked(*arguments: str) -> list[clocks.CameraClock]:
    """The clocks that a command line asks for."""
    return clocks.camera_clocks(options.parse(["out", *arguments]))


def test_drawn_offsets_have_the_asked_distribution():
    draw = clocks.draw_offsets
    gaussian = draw(4000, seed=0, fps=30.0, std_frames=5.0)
    assert gaussian.std() * 30 == pytest.approx(5.0, rel=0.05)
    assert abs(gaussian.mean()) * 30 < 0.3
    uniform = draw(4000, seed=0, fps=30.0, range_frames=30.0) * 30
    assert np.abs(uniform).max() <= 30.0
    assert uniform.std() == pytest.approx(60 / np.sqrt(12), rel=0.05)
    np.testing.assert_array_equal(draw(14, 3, 30.0, 5.0), draw(14, 3, 30.0, 5.0))
    assert not np.array_equal(draw(14, 3, 30.0, 5.0), draw(14, 4, 30.0, 5.0))
    assert (draw(14, 3, 30.0, 0.0) == 0.0).all()


def test_nearly_whole_offsets():
    frames = clocks.draw_whole_offsets(4000, seed=0, fps=25.0, reach=8, jitter=0.1) * 25
    whole = np.round(frames)
    assert (frames - whole).std() == pytest.approx(0.1, rel=0.05)
    assert set(whole) >= set(range(-8, 9))
    assert np.abs(whole).max() <= 9


def test_stated_offsets(tmp_path):
    stated = asked("--cameras", "3", "--fps", "20", "--offsets", "0,12.5,-3")
    assert [clock.offset for clock in stated] == [0.0, 0.625, -0.15]
    path = tmp_path / "offsets.json"
    path.write_text('{"seconds": [0.5, -1]}')
    assert [clock.offset for clock in asked("--cameras", "2", "--offsets", str(path))] == [0.5, -1.0]


@pytest.mark.parametrize("text", ["0,1", "0,late,2", "none.json", "0,nan,1"])
def test_unfit_offsets_are_told_in_one_line(text, capsys, tmp_path):
    output = str(tmp_path / "out")
    assert make_blender_scene.main([output, "--cameras", "3", "--offsets", text]) == 2
    message = capsys.readouterr().err.strip()
    assert text in message
    assert len(message.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_lists_go_round_the_cameras():
    four = asked("--cameras", "4", "--fps", "25,30", "--frames", "50", "--rates", "0,300,-200", "--exposure", "0.01")
    assert [clock.fps for clock in four] == [25.0, 30.0, 25.0, 30.0]
    assert [clock.frames for clock in four] == [50, 60, 50, 60]
    assert [clock.rate for clock in four] == pytest.approx([0.0, 3e-4, -2e-4, 0.0])
    assert {clock.exposure for clock in four} == {0.01}
    assert {clock.row_time for clock in four} == {0.0}
    assert [clock.row_time for clock in asked("--cameras", "4", "--row-time", "-0.015")] == [0, -0.015, 0, -0.015]
    chosen = asked("--cameras", "3", "--row-time", "0.01", "--row-time-cameras", "0,2")
    assert [clock.row_time for clock in chosen] == [0.01, 0.0, 0.01]


def test_moments_of_rows():
    camera = clocks.CameraClock(25.0, 9, offset=-1.5, rate=1e-3, row_time=0.02, exposure=0.01)
    # The eighth frame's stamp is 0.28 s, the middle of its exposure 0.285, on a clock that runs 0.1% slow.
    assert camera.moment(7) == pytest.approx(0.285 * 1.001 - 1.5, abs=1e-12)
    assert camera.moment(7, -0.5) == pytest.approx(camera.moment(7) - 0.01, abs=1e-12)
    bands = camera.bands(100)
    assert [row for first, last in bands for row in range(first, last)] == list(range(100))
    # 0.02 s are half a frame, so at least 16 bands keep each within 1/32 of one.
    assert 16 <= len(bands) <= 17
    assert clocks.CameraClock(25.0, 9).bands(100) == [(0, 100)]


def test_rows_are_rendered_as_of_their_own_moment():
    """A camera that takes the time of its rows: the picture is the time of each row, to half a band."""


    class Clockface(filming.FilmingCamera):
        def take(self, frame, moment, first, last):
            return np.full((last - first, 4, 3), moment)

    clock = clocks.CameraClock(30.0, 3, offset=0.7, row_time=-0.03)
    *_, picture = Clockface(None, clock, np.zeros((3, 4, 4)), (4, 48)).pictures()
    rows = (np.arange(48) + 0.5) / 48 - 0.5
    expected = 2 / 30 + 0.7 - 0.03 * rows
    assert picture.shape == (48, 4, 3)
    assert np.abs(picture[:, 0, 0] - expected).max() <= 1 / 30 / 64 + 1e-12
    assert np.abs((picture[:, 0, 0] - expected).mean()) < 1e-6


def test_flight_is_fast_and_keeps_its_energy():
    radii = np.array([0.15, 0.2, 0.13, 0.24, 0.18])
    drum = flight.Drum()
    thrown = flight.Flight(np.random.default_rng(3), radii, 3.3, 6.0, -1.0, drum)
    thrown.follow(3.0)
    courses = thrown.courses
    energies = []
    for moment in np.arange(-1.0, 3.0, 0.01):
        total = 0.0
        for course in courses:
            last = np.searchsorted(course.times, moment, side="right") - 1
            velocity = course.velocities[last] - [0.0, 0.0, flight.GRAVITY * (moment - course.times[last])]
            total += 0.5 * velocity @ velocity + flight.GRAVITY * course.pose(moment)[2, 3]
        energies.append(total)
    assert np.ptp(energies) < 0.01 * np.mean(np.abs(energies))
    times = np.arange(-1.0, 3.0, 1 / 240)
    centres = np.array([[course.pose(time)[:3, 3] for course in courses] for time in times])
    assert np.linalg.norm(np.diff(centres, axis=0), axis=-1).max() * 240 < 16.0  # no jumps
    apart = np.linalg.norm(centres[:, :, None] - centres[:, None], axis=-1)
    first, second = np.triu_indices(5, 1)
    assert (apart[:, first, second] - radii[first] - radii[second]).min() > -0.03
    assert (np.hypot(centres[..., 0], centres[..., 1]) + radii).max() < drum.radius + 0.03
    assert (centres[..., 2] - radii).min() > drum.floor - 0.03
    # At 128 pixels, 30 frames per second, seen from 4 units: median some 8 pixels a frame, the fastest about 20.
    speed = np.linalg.norm(centres[8:] - centres[:-8], axis=-1) * 0.5 * 128 / np.tan(0.3456) / 4.0
    assert 5.0 < np.median(speed) < 12.0
    assert 13.0 < speed.max() < 30.0


def test_rotations_by_a_vector():
    from scipy.spatial.transform import Rotation

    rotation_by = motion.rotation_by
    for vector in ((0.0, 0.0, 0.0), (0.3, -2.0, 1.1), (0.0, 9.0, 0.0)):
        np.testing.assert_allclose(rotation_by(np.array(vector)), Rotation.from_rotvec(vector).as_matrix(), atol=1e-12)


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason='needs Blender: pip install "syncnerf[blender]"')
def test_a_rendered_rolling_shutter(tmp_path):
    """A row is that of a camera that is late by as much as the row is."""
    row, row_time = 20, 0.4
    late = row_time * ((row + 0.5) / 32 - 0.5)
    rolling = ("--offsets", "0,3", "--row-time", str(row_time), "--hide", "row_time", "--rates", "0,250")
    shifted = ("--offsets", f"0,{3 + 30 * late}", "--rates", "0,250")
    pictures = []
    for name, own in (("rolling", rolling), ("shifted", shifted)):
        common = ("--cameras", "2", "--frames", "1", "--size", "32", "--samples", "24", "--crf", "0")
        command = [sys.executable, str(TOOLS / "make_blender_scene.py"), str(tmp_path / name), *common, *own]
        subprocess.run(command, check=True, capture_output=True, text=True)
        with scene_output.av.open(str(tmp_path / name / "cam01.mp4")) as container:
            pictures.append(next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int))
    error = np.abs(pictures[0] - pictures[1]).mean(axis=(1, 2))
    assert error[row] < 0.2 * error[[9, 11, 13, 15, 25, 26, 27]].mean()
    truth = json.loads((tmp_path / "rolling" / "offsets.json").read_text())
    assert truth["row_times"] == [0.0, row_time]
    assert truth["rates_ppm"] == pytest.approx([0.0, 250.0])
    assert truth["seconds"] == pytest.approx([0.0, 0.1])
    assert "row_time" not in (tmp_path / "rolling" / "transforms.json").read_text()


def test_bodies_fly_on_for_as_long_as_somebody_asks():
    """Asked late and then early, they have been where they are if asked in order."""
    late, ordered = (flight.flown_poses(np.random.default_rng(3), [0.15, 0.2, 0.13]) for _ in range(2))
    last = np.array([pose(15.0)[:3, 3] for pose in late])
    assert np.hypot(last[:, 0], last[:, 1]).max() < flight.Drum().radius
    assert (np.abs(last[:, 2]) < 1.0).all()
    for time in (-2.0, 1.3, 8.0, 15.0):
        for one, other in zip(late, ordered, strict=True):
            np.testing.assert_array_equal(one(time), other(time))
