"""Scores, videos and pictures of a field in closed form, whose right offsets are known."""

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from evaluation_fixtures import FPS, pattern_scene, synced_pattern

from syncnerf.backend import Execution
from syncnerf.evaluation.evaluate import METRICS, Scoring, evaluate, write_metrics
from syncnerf.evaluation.protocols import FULL, HOLDOUT, NONE
from syncnerf.evaluation.shots import Shot, evaluated_frames, render_shot
from syncnerf.evaluation.videos import video_writer
from syncnerf.modes import evaluation_mode
from syncnerf.summary import result_table

TRUE_OFFSETS = [0.23, 0.1, -0.15, 0.4]

@pytest.fixture
def scene(tmp_path):
    return pattern_scene(tmp_path, TRUE_OFFSETS)


def test_the_right_offset_scores_a_perfect_image(tmp_path):
    # The field's time is the scene's own here, so the reference camera's true offset must be zero as in the embedding.
    scene = pattern_scene(tmp_path, [value - TRUE_OFFSETS[1] for value in TRUE_OFFSETS])
    synced = synced_pattern(scene, TRUE_OFFSETS)
    after = evaluate(synced, scene, Scoring(FULL, step=7))
    before = evaluate(synced, scene, Scoring(FULL.without_fit(), step=7))
    assert after.mean["psnr"] > 55
    assert after.mean["ssim"] > 0.999
    assert after.mean["dssim"] == pytest.approx((1 - after.mean["ssim"]) / 2)
    assert before.mean["psnr"] < 25
    assert [score.frame for score in after.frames] == list(range(6))
    assert {score.camera for score in after.frames} == {"cam_00"}


def test_none_means_offset_zero_whatever_the_embedding_holds(scene):
    fitted, untouched = synced_pattern(scene, TRUE_OFFSETS), synced_pattern(scene)
    assert evaluate(fitted, scene, Scoring(NONE)).mean == (
        evaluate(untouched, scene, Scoring(FULL)).mean
    )
    assert fitted.clock.offsets()[0].item() == pytest.approx(0.13)


def test_moments_that_no_training_camera_saw_are_scored_apart(scene, caplog):
    """Training cameras' clocks span a known interval; the test camera's video reaches two frames beyond its end."""
    synced = synced_pattern(scene, TRUE_OFFSETS)
    last = max(synced.clock.offsets()[i].item() + scene.cameras[i].frame_times[-1].item() for i in scene.train)
    camera = scene.cameras[0]
    synced.clock.set_camera(0, last - camera.frame_times[-3].item())
    found = evaluate(synced, scene, Scoring(FULL))
    count = camera.frame_count
    assert [score.seen for score in found.frames] == [True] * (count - 2) + [False] * 2
    assert found.mean["psnr"] == pytest.approx(np.mean([score.psnr for score in found.frames[:-2]]))
    assert found.unseen["psnr"] == pytest.approx(np.mean([score.psnr for score in found.frames[-2:]]))
    record = found.to_dict()
    assert record["unseen"]["frames"] == 2
    assert [entry["seen"] for entry in record["frames"]][-3:] == [True, False, False]
    assert f"frames {count - 2}, {count - 1} lie at moments that no training camera saw" in caplog.text
    # Nothing at all was seen: no score.
    synced.clock.set_camera(0, last + 100.0)
    nothing = evaluate(synced, scene, Scoring(FULL))
    assert nothing.mean["psnr"] is None
    assert nothing.unseen_count == count
    table = result_table(scene, synced.clock, [], found, nothing)
    assert f"over {count - 2} of {count} frames; the other 2" in table
    assert "PSNR - dB" in table


def test_a_training_camera_without_an_error_among_others_is_called_undetermined(scene):
    synced, errors = synced_pattern(scene, TRUE_OFFSETS), torch.full((len(scene.cameras),), 1e-6, dtype=torch.float64)
    nothing = evaluate(synced, scene, Scoring(FULL, test_frames=1))
    assert "undetermined" not in result_table(scene, synced.clock, [], nothing, None)
    lost = next(camera for camera in scene.train if camera != scene.reference)
    errors[lost] = torch.inf
    synced.clock.settle(torch.diag(errors)[:, None, :, None])
    table = result_table(scene, synced.clock, [], nothing, None).splitlines()
    assert [line.split()[0] for line in table if "undetermined" in line] == [scene.names[lost]]


def test_what_else_was_learned_of_clocks_is_shown(scene):
    """300 parts per million against a reference that has -100: 400.04 more than it; 12 of 15 ms found."""
    count, camera = len(scene.cameras), next(camera for camera in scene.train if camera != scene.reference)
    truth = torch.zeros(2, count, dtype=torch.float64)
    truth[:, camera], truth[0, scene.reference] = torch.tensor([300e-6, 15e-3]), -100e-6
    planted = replace(scene, true_rates=truth[0], true_row_times=truth[1])
    clock = synced_pattern(planted, TRUE_OFFSETS, rates="learn", readouts="learn").clock
    with torch.no_grad():
        clock.skews[camera], clock.row_times[camera] = 350e-6 * clock.halves[camera], 0.012
    squares = torch.full((2 * count,), 1e-8, dtype=torch.float64).diag().reshape(2, count, 2, count)
    clock.settle(squares.permute(1, 0, 3, 2), torch.full((count,), 2e-3, dtype=torch.float64))
    nothing = evaluate(synced_pattern(planted), planted, Scoring(FULL, test_frames=1))
    lines = {line.split()[0]: line for line in result_table(planted, clock, [], nothing, None).splitlines()}
    error = clock.rates_stderr()[camera].item() * 1e6
    said = f"rate +350.0 +- {error:.1f} ppm (true +400.0); readout +12.0 +- 2.0 ms (true +15.0)"
    assert said in lines[planted.names[camera]]
    assert "rate" not in lines[planted.names[planted.reference]]
    assert "readout +0.0 +- 2.0 ms (true +0.0)" in lines[planted.names[planted.reference]]


def test_offsets_that_nothing_confirms_are_not_shown_as_results(scene):
    synced, count = synced_pattern(scene, TRUE_OFFSETS), len(scene.cameras)
    nothing = evaluate(synced, scene, Scoring(FULL, test_frames=1))
    synced.clock.settle(torch.full((count,), torch.inf, dtype=torch.float64).diag()[:, None, :, None])
    assert "no standard errors" in result_table(scene, synced.clock, [], nothing, None)
    synced.clock.settle(torch.full((count,), 1e-6, dtype=torch.float64).diag()[:, None, :, None])
    assert "no standard errors" not in result_table(scene, synced.clock, [], nothing, None)
    assert "no standard errors" not in result_table(scene, synced_pattern(scene, mode="off").clock, [], nothing, None)


def test_a_clock_that_runs_slow_decides_what_was_seen(scene):
    """The test camera's last frames are beyond what was seen at its offset; at its rate they are not."""
    synced, camera = synced_pattern(scene, TRUE_OFFSETS), scene.cameras[0]
    last = max(synced.clock.offsets()[i].item() + scene.cameras[i].frame_times[-1].item() for i in scene.train)
    offset = last - camera.frame_times[-3].item()
    synced.clock.set_camera(0, offset, (last - offset) / camera.frame_times[-1].item() - 1.0)
    assert evaluate(synced, scene, Scoring(FULL)).unseen_count == 0


def test_a_moving_camera_is_rendered_from_each_frames_own_pose(scene):
    """Whatever a backend likes to be asked for at once."""
    synced, still = synced_pattern(scene, TRUE_OFFSETS), scene.cameras[0]
    poses = torch.stack([scene.cameras[index % 3].pose(0) for index in range(still.frame_count)])
    moving = replace(Shot.of_camera(scene, 0, range(4)), camera=replace(still, camera_to_world=poses))
    synced.backend.times_at_once = 4
    for frame, view in enumerate(render_shot(synced, moving)):
        from_there = replace(moving.camera, camera_to_world=poses[frame])
        shot = replace(moving, camera=from_there, frames=[frame], times=moving.times[frame : frame + 1])
        torch.testing.assert_close(next(render_shot(synced, shot)).rgb, view.rgb)


def test_holdout_scores_the_right_half_alone(scene):
    synced = synced_pattern(scene)
    frames = np.array(scene.frames(0))
    frames[:, :, : frames.shape[2] // 2] = 0
    spoiled = pattern_scene(scene.root / "spoiled", TRUE_OFFSETS)
    spoiled._frames[0] = frames
    whole, half = (evaluate(synced, spoiled, Scoring(p)).mean["psnr"] for p in (FULL, HOLDOUT))
    assert half == pytest.approx(evaluate(synced, scene, Scoring(HOLDOUT)).mean["psnr"])
    assert whole < half - 3


def test_offset_errors_leave_the_gauge_to_the_training_cameras(scene):
    found = torch.tensor([9.0, 0.0, -0.27, 0.3], dtype=torch.float64)
    record = evaluate(synced_pattern(scene, found.tolist()), scene, Scoring(FULL)).offsets
    # Differences of the training cameras: -0.1, -0.12, -0.1, so their median is -0.1.
    assert record["shift_seconds"] == pytest.approx(-0.1)
    assert record["max_seconds"] == pytest.approx(0.02)
    assert record["max_frames"] == pytest.approx(0.02 * FPS)
    assert record["mae_frames"] == pytest.approx(0.02 / 3 * FPS)
    assert record["median_frames"] == pytest.approx(0.0, abs=1e-9)
    assert set(record["cameras"]) == {"cam_01", "cam_02", "cam_03"}
    assert record["test"]["cam_00"]["error_seconds"] == pytest.approx(9.0 - 0.23 + 0.1)
    assert record["test"]["cam_00"]["error_frames"] == pytest.approx((9.0 - 0.23 + 0.1) * FPS)


def test_rates_and_readout_times_are_compared_with_the_truth(scene):
    told = replace(
        scene,
        true_rates=torch.tensor([0.0, 1e-4, 2e-4, 1e-4], dtype=torch.float64),
        true_row_times=torch.tensor([0.0, 0.01, 0.0, 0.015], dtype=torch.float64),
    )
    record = evaluate(synced_pattern(scene, TRUE_OFFSETS), told, Scoring(FULL)).offsets
    # The clock knows of neither: against the reference (camera 1) the rates are 0, 1e-4 and 0.
    assert record["rates_ppm"]["mae"] == pytest.approx(100 / 3, rel=1e-3)
    assert record["rates_ppm"]["max"] == pytest.approx(100, rel=1e-3)
    assert record["row_times_seconds"] == pytest.approx({"mae": 0.025 / 3, "max": 0.015})
    assert not {"rates_ppm", "row_times_seconds"} & set(evaluate(synced_pattern(scene), scene, Scoring(FULL)).offsets)


def test_no_ground_truth_no_offset_errors(tmp_path):
    scene = pattern_scene(tmp_path, None)
    assert "offsets" not in evaluate(synced_pattern(scene), scene, Scoring(FULL)).to_dict()


def test_metrics_json_holds_both_scores(scene, tmp_path):
    synced = synced_pattern(scene, TRUE_OFFSETS)
    after, before = (evaluate(synced, scene, Scoring(p, step=3)) for p in (FULL, FULL.without_fit()))
    write_metrics(tmp_path / "metrics.json", after, before)
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert record["protocol"] == "full"
    assert record["step"] == 3
    assert record["none"]["protocol"] == "none"
    assert set(record["mean"]) == set(METRICS)
    assert record["mean"]["lpips_alex"] is None or "lpips_alex" not in record["notes"]
    assert len(record["frames"]) == len(record["none"]["frames"]) == 6
    assert list(tmp_path.glob(".*partial")) == []


def test_video_and_pictures_come_with_the_score(scene, tmp_path):
    renders = tmp_path / "renders"
    renders.mkdir()
    (renders / "test_cam_00_0099_truth.png").touch()
    (renders / "test_cam_00b_0099_truth.png").touch()
    synced = synced_pattern(scene)
    evaluate(synced, scene, Scoring(FULL, renders=renders))
    with av.open(str(renders / "test_cam_00.mp4")) as video:
        stream = video.streams.video[0]
        # 17 x 13 pixels are padded, never resampled.
        assert (stream.width, stream.height, stream.frames) == (18, 14, 6)
        assert float(stream.average_rate) == FPS
        images = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    truth = scene.frames(0)[0]
    assert np.abs(images[0][:13, :17].astype(int).mean() - truth.mean()) < 25
    pictures = sorted(path.name for path in renders.glob("*.png"))
    assert "test_cam_00_0099_truth.png" not in pictures
    assert "test_cam_00b_0099_truth.png" in pictures
    kinds = {name.rsplit("_", 1)[1] for name in pictures}
    assert kinds == {"truth.png", "rendering.png", "error.png", "depth.png", "static.png", "dynamic.png"}
    assert len(pictures) == 4 * 6 + 1


@pytest.mark.parametrize(("at_once", "calls", "decomposed"), [(1, 20, 4), (8, 3, 3)])
def test_frames_are_rendered_once_and_decomposed_for_pictures_only(tmp_path, at_once, calls, decomposed):
    scene = pattern_scene(tmp_path / "scene", TRUE_OFFSETS, frame_count=20)
    synced = synced_pattern(scene)
    synced.backend.times_at_once = at_once
    evaluate(synced, scene, Scoring(FULL, renders=tmp_path))
    assert len(synced.backend.shapes) == calls
    assert synced.backend.decompositions == decomposed
    assert len(list(tmp_path.glob("*_static.png"))) == 4


def test_evaluated_frames_are_evenly_spaced():
    assert evaluated_frames(6, 0) == evaluated_frames(6, 9) == [0, 1, 2, 3, 4, 5]
    assert evaluated_frames(61, 4) == [0, 20, 40, 60]
    assert evaluated_frames(10, 1) == [0]


def test_modes_are_restored_even_after_an_error(scene):
    def fail_within():
        with evaluation_mode(synced):
            assert not synced.training
            raise RuntimeError

    synced = synced_pattern(scene)
    synced.train()
    synced.backend.part.eval()
    with pytest.raises(RuntimeError):
        fail_within()
    assert synced.training
    assert synced.backend.training
    assert not synced.backend.part.training


def test_several_moments_at_once_render_the_same_images(scene):
    synced = synced_pattern(scene, TRUE_OFFSETS)
    synced.backend.execution = Execution(rays_at_once=40)
    shot = replace(Shot.of_camera(scene, 0, range(6)), detailed=frozenset(range(6)))
    views = {}
    for at_once in (1, 4):
        synced.backend.shapes.clear()
        synced.backend.times_at_once = at_once
        views[at_once] = list(render_shot(synced, shot))
        expected = {(40,), (21,)} if at_once == 1 else {(10, 4), (1, 4), (20, 2), (1, 2)}
        assert set(map(tuple, synced.backend.shapes)) == expected
    for one, several in zip(views[1], views[4], strict=True):
        assert torch.equal(one.rgb, several.rgb)
        assert torch.equal(one.depth, several.depth)
        assert torch.equal(one.extras["static_rgb"], several.extras["static_rgb"])
        assert torch.equal(one.extras["dynamic_rgb"], several.extras["dynamic_rgb"])
        assert one.rgb.shape == (13, 17, 3)
        assert one.accumulation.shape == (13, 17)
        assert not one.rgb.requires_grad


def test_consuming_views_leaves_gradients_on(scene):
    views = render_shot(synced_pattern(scene), Shot.of_camera(scene, 0, [0], own_clock=False), progress=False)
    next(views)
    assert torch.is_grad_enabled()


def test_offsets_switched_off_can_be_evaluated(scene):
    synced = synced_pattern(scene, mode="off")
    assert (
        evaluate(synced, scene, Scoring(NONE)).mean == evaluate(synced, scene, Scoring(FULL)).mean
    )


@pytest.mark.parametrize("row_time", [0.08, -0.08])
def test_a_readout_time_that_is_given_counts_without_a_fit_as_well(scene, row_time):
    """The test camera's rows are exposed one after another, whether or not its offset was fitted."""
    upper, lower = 0, scene.cameras[0].intrinsics.height - 1
    late = row_time * (0.5 / (lower + 1) - 0.5)
    pictures = {}
    for place, shift in (("middle", 0.0), ("upper", late), ("lower", -late)):
        still = replace(scene.cameras[0], given_times=scene.cameras[0].frame_times + shift)
        others = replace(scene, cameras=(still, *scene.cameras[1:]))
        shot = Shot.of_camera(others, 0, [2], own_clock=False)
        pictures[place] = next(render_shot(synced_pattern(scene, mode="off"), shot, progress=False)).rgb
    rolling = replace(scene, cameras=(replace(scene.cameras[0], row_time=row_time), *scene.cameras[1:]))
    synced = synced_pattern(rolling, mode="off")
    shown = next(render_shot(synced, Shot.of_camera(rolling, 0, [2], own_clock=False), progress=False)).rgb
    torch.testing.assert_close(shown[upper], pictures["upper"][upper])
    torch.testing.assert_close(shown[lower], pictures["lower"][lower])
    assert not torch.allclose(shown[upper], pictures["middle"][upper], atol=1e-2)
    assert evaluate(synced, rolling, Scoring(NONE)).mean == evaluate(synced, rolling, Scoring(FULL)).mean


def test_a_broken_off_video_leaves_no_file(tmp_path):
    def write_and_fail():
        with video_writer(tmp_path / "video.mp4", 10) as video:
            video.write(torch.rand(16, 16, 3))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize("fps", [29.97, 30, 1000 / 1001 * 24])
def test_video_keeps_colours_and_rate(tmp_path, fps):
    image = np.zeros((20, 30, 3), np.uint8)
    image[:] = (200, 60, 30)
    with video_writer(tmp_path / "video.mp4", fps) as video:
        for _ in range(5):
            video.write(image)
    with av.open(str(tmp_path / "video.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(fps, rel=1e-4)
        decoded = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(decoded.astype(int) - image).max() <= 4
