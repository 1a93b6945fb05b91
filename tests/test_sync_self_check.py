"""Verdicts: what a synchronisation says against itself."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from moving_spheres import Spheres, sphere_scene
from solved_rigs import STEP, TRUTH, all_pairs, landscape, solved

from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.scene import Scene
from syncnerf.scene.origin import near_origin
from syncnerf.sync import Check, PairLag, SyncResult, synchronize
from syncnerf.sync.comparison import Comparison
from syncnerf.sync.consistent import connected_reference, fit_consistent
from syncnerf.sync.conventions import CONVENTIONS, convention_hint
from syncnerf.sync.epipolar_cameras import prepare_cameras
from syncnerf.sync.explained import alternatives, explained_share
from syncnerf.sync.landscape import Peak, better_beyond
from syncnerf.sync.pose_fit import line_lead, pose_fit
from syncnerf.sync.self_check import left_out_change, reviewed, with_checks
from syncnerf.sync.solve import Lags


def test_other_offsets_that_explain_nearly_as_much_are_listed():
    assert alternatives(solved([]), all_pairs(), 1) == []
    assert alternatives(solved([]), all_pairs({15: 0.5}), 1) == []
    found = alternatives(solved([]), all_pairs({15: 0.95, -15: 0.95}), 1)
    assert sorted(round(seconds / STEP) for seconds in found) == [-15, 15]


def test_a_wrong_solution_lists_the_right_one():
    wrong = TRUTH + torch.tensor([0.0, 15 * STEP, 0.0, 0.0], dtype=torch.float64)
    found = alternatives(solved([], wrong), all_pairs({15: 0.9, -15: 0.9}), 1)
    assert min(abs(seconds / STEP + 15) for seconds in found) < 1.01


def test_explained_share_is_that_of_the_peaks():
    assert explained_share(solved([]), all_pairs(), 2) == pytest.approx(0.36, abs=0.05)
    wrong = TRUTH + torch.tensor([0.0, 0.0, 0.4, 0.0], dtype=torch.float64)
    assert explained_share(solved([], wrong), all_pairs(), 2) < 0.02


def test_leaving_one_out_matches_a_loop():
    residuals, deviations = [0.01, -0.002, 0.004], [0.001, 0.002, 0.004]
    pairs = [PairLag(1, j, 0.0, d, 9.0, r, "") for j, r, d in zip((0, 2, 3), residuals, deviations, strict=True)]

    def mean(kept):
        weights = np.array(deviations)[kept] ** -2
        return (weights * np.array(residuals)[kept]).sum() / weights.sum()

    changes = [mean([k for k in range(3) if k != left]) - mean([0, 1, 2]) for left in range(3)]
    assert left_out_change(pairs, 1) == pytest.approx(max(changes, key=abs))


@pytest.mark.parametrize(("height", "verdict"), [(0.3, "check"), (0.6, "check"), (0.8, "sure")])
def test_a_camera_whose_motion_hardly_agrees_is_to_be_checked(height, verdict):
    """Correlations of 0.6 between the others, of 0.18 (9% of what is usual), 0.36 (36%) or 0.48 (64%) with it."""
    lands = [landscape(i, j, {0: height} if j == 3 else None) for i in range(4) for j in range(i + 1, 4)]
    pairs = [Comparison(land.first, land.second, land, None, "", whole=land) for land in lands]
    checks = with_checks(solved([]), pairs, [], STEP).checks
    assert [checks[name].verdict for name in "abcd"] == ["sure", "sure", "sure", verdict]
    assert ("pose" in checks["d"].advice) == (verdict == "check")
    # It may see much that others do not: then what agrees lies on the right lines, as far as it does for others.
    for others, own, told in ((20.0, 9.0, "sure"), (20.0, 7.0, verdict), (8.0, 5.0, "sure"), (8.0, 3.0, verdict)):
        fitting = with_checks(solved([]), pairs, [], STEP, fit=[others, others, others, own].__getitem__).checks
        assert [fitting[name].verdict for name in "abcd"] == ["sure", "sure", "sure", told]


def test_a_camera_of_few_distinct_lags_is_doubted_though_it_fits_its_pose():
    """Correlations of 0.6 between the others and 0.18 with the last: it fits, and half of its pairs tell no lag."""
    lands = [landscape(i, j, {0: 0.3} if j == 3 else None) for i in range(4) for j in range(i + 1, 4)]
    pairs = [Comparison(land.first, land.second, land, None, "", whole=land) for land in lands]
    for lost, verdict in ((0, "sure"), (1, "sure"), (2, "check")):
        lags = [
            PairLag(i, j, 0.5, 1e-3, 9.0, 0.0, "flat" if j == 3 and i < lost else "")
            for i in range(4)
            for j in range(i + 1, 4)
        ]
        checks = with_checks(solved(lags), pairs, [], STEP, fit=[20.0, 20.0, 20.0, 12.0].__getitem__).checks
        assert checks["d"].verdict == verdict
        assert {checks[name].verdict for name in "abc"} == {"sure"}


@pytest.mark.parametrize(("lag", "fit", "verdict"), [(0.0, 20.0, "sure"), (0.1, 6.0, "check"), (0.4, 6.0, "sure")])
def test_agreement_at_equal_places_must_be_on_the_right_lines(lag, fit, verdict):
    """Cameras that are wired together agree at once too, but on the lines that their poses say."""
    still = torch.zeros(4, dtype=torch.float64)
    lags = [PairLag(i, j, lag * STEP, 1e-3, 9.0, 0.0, "") for i in range(4) for j in range(i + 1, 4)]
    checks = with_checks(solved(lags, still), [], [], STEP, fit=lambda camera: fit).checks
    assert {check.verdict for check in checks.values()} == {verdict}
    assert all(("key frames" in check.advice) == (verdict == "check") for check in checks.values())


def test_no_group_is_believed_that_another_as_large_contradicts():
    """Cameras a and b agree, c and d do, and nothing connects them; then c and d do not agree either."""
    lost = torch.tensor([0.0, 0.2, torch.nan, torch.nan], dtype=torch.float64)
    result = replace(solved([], lost), reasons={"c": "not connected", "d": "not connected"})
    apart = PairLag(2, 3, 0.1, 1e-3, 9.0, 0.0, "not connected with the reference")
    for second, told in ((apart, True), (replace(apart, reason="flat"), False)):
        pairs = [PairLag(0, 1, -0.2, 1e-3, 9.0, 0.0, ""), second]
        checks = with_checks(replace(result, pairs=pairs), [], [], STEP).checks
        assert [("2 other cameras agree" in checks[name].reason) for name in "abcd"] == [told, told, False, False]
        assert checks["a"].verdict == "check"


def test_equal_lines_lead_where_lines_tell():
    """Lines that share motion beside twice as much of either's own, and lines that share a rhythm with all."""
    generator = torch.Generator().manual_seed(0)
    shared, own, other = torch.randn(3, 120, 60, generator=generator)
    assert line_lead(shared + 2 * own, shared + 2 * other) > 8
    assert line_lead((shared + 2 * own)[:-2], (shared + 2 * other)[2:]) < 4
    assert line_lead((shared + 2 * own)[:-2], (shared + 2 * other)[2:], widest=3) > 8
    assert line_lead(shared[0] + own, shared[0] + other) < 4
    assert line_lead(torch.zeros(20, 30), torch.zeros(20, 30)) == 0


@dataclass
class Exchanged:
    """Frames of a scene in which the videos of some cameras are those of others."""

    scene: Scene
    videos: dict[str, str]

    def prepare(self, cameras):
        """Nothing to do: the scene's frames are decoded."""

    def open(self, camera):
        return self.scene.frames(self.scene.index_of(self.videos.get(camera.name, camera.name)))


def test_poses_fit_the_motion_unless_they_are_anothers(tmp_path):
    offsets = [*TRUTH.tolist(), 0.12, -0.05, 0.0]
    scene = sphere_scene(tmp_path, offsets, frames=50, spheres=Spheres(6, 3), size=(72, 64))
    scene.frame_cache.prepare(scene.cameras)
    prepared = prepare_cameras(scene)
    right = SyncResult(scene.names, 0, "epipolar", scene.true_offsets.clone(), torch.full((7,), 1e-3).double(), [], [])
    fits = [pose_fit(prepared, right, camera) for camera in range(7)]
    assert min(fits) > 6
    one, other = scene.names[3], scene.names[5]
    wrong = replace(scene, frame_cache=Exchanged(scene, {one: other}), _frames={})
    # Even where it is put at the right moment.
    right.offsets[3] = right.offsets[5]
    assert pose_fit(prepare_cameras(wrong), right, 3) < 4
    assert synchronize(wrong, audio="off").verdicts[one] != "sure"


def test_a_camera_that_most_pairs_contradict_is_not_determined():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.triu_indices(8, 8, 1)
    truth = torch.linspace(-0.2, 0.2, 8, dtype=torch.float64)
    values = truth[first] - truth[second] + 1e-3 * torch.randn(28, generator=generator).double()
    lost = (first == 5) | (second == 5)
    values[lost] = torch.linspace(-1.5, 1.5, int(lost.sum())).double()
    lags = Lags(first, second, values, torch.full((28,), 1e-3, dtype=torch.float64))
    spans = torch.tensor([0.0, 3.0], dtype=torch.float64).expand(8, 2)
    solution, removed = fit_consistent(lags, spans, 0, STEP)
    assert list(removed) == [5]
    # Its pairs place it half a second apart, so that it can agree with one of them alone.
    assert removed[5] == "6 of 7 of its pairs contradict each other"
    assert solution.offsets.isnan().nonzero()[:, 0].tolist() == [5]
    others = [0, 1, 2, 3, 4, 6, 7]
    assert float((solution.offsets - truth + truth[0])[others].abs().max()) < 3e-3
    # A camera that began after the reference's video ended never met it.
    values = truth[first] - truth[second] + 5.0 * ((first == 3).double() - (second == 3).double())
    solution, removed = fit_consistent(Lags(first, second, values, lags.deviations), spans, 0, STEP)
    assert list(removed) == [3]
    assert "reference" in removed[3]


@pytest.mark.parametrize(("said", "known"), [(1, False), (2, True), (3, True)])
def test_cameras_that_relieve_each_other_are_placed_by_two_that_agree(said, known):
    """Eight videos of 3 s, each 0.45 s later than the one before: the last, 3.15 s after the first, never met it."""
    truth = -0.45 * torch.arange(8, dtype=torch.float64)
    first, second = torch.triu_indices(8, 8, 1)
    told = ((second != 7) | (first >= 7 - said)) & (second - first < 6)
    first, second = first[told], second[told]
    deviations = torch.full((len(first),), 1e-3, dtype=torch.float64)
    spans = torch.tensor([0.0, 3.0], dtype=torch.float64).expand(8, 2)
    lags = Lags(first, second, truth[first] - truth[second], deviations)
    solution, removed = fit_consistent(lags, spans, 0, STEP)
    assert list(removed) == ([] if known else [7])
    if known:
        torch.testing.assert_close(solution.offsets, truth, atol=1e-6, rtol=0)
    # One that says something else is enough to leave it out.
    values = lags.values + 0.5 * ((first == 6) & (second == 7)).double()
    assert list(fit_consistent(Lags(first, second, values, deviations), spans, 0, STEP)[1]) == [7]


def test_the_reference_is_of_the_largest_group():
    """Lags connect 0-2-4 and 1-3; 5 has none."""
    pairs = torch.tensor([[0, 2], [2, 4], [1, 3]])
    ones = torch.ones(3, dtype=torch.float64)
    lags = Lags(pairs[:, 0], pairs[:, 1], ones, ones)
    assert connected_reference(lags, 6, (1, 2, 3, 4, 5, 0)) == 2
    assert connected_reference(lags.keep(torch.tensor([True, False, True])), 6, (5, 3, 1, 2, 4, 0)) == 3
    assert connected_reference(lags.keep(torch.zeros(3, dtype=torch.bool)), 6, (5, 3, 1, 2, 4, 0)) == 5


def test_a_better_lag_beyond_the_limit_is_told():
    land = landscape(0, 1, {12: 0.8})
    assert better_beyond(land, None) == ""
    assert better_beyond(land, 0.5) == ""
    assert "-0.20 s" in better_beyond(landscape(0, 1), 0.1)


@pytest.fixture(scope="module")
def repeating(tmp_path_factory) -> Scene:
    """Motion that repeats exactly every 20 frames."""
    spheres = Spheres(6, 3)
    spheres.frequency = np.broadcast_to(np.array([1.5, 3.0, 1.5])[:, None, None], spheres.phase.shape)
    folder = tmp_path_factory.mktemp("repeating")
    made = sphere_scene(folder, TRUTH.tolist(), frames=66, spheres=spheres, size=(72, 64))
    made.frame_cache.prepare(made.cameras)
    return made


def test_repeating_motion_is_never_sure(repeating):
    result = synchronize(repeating, audio="off")
    assert "sure" not in result.verdicts.values()
    error = align_gauge(result.offsets, repeating.true_offsets) / STEP
    for name, camera in zip(result.names, error.tolist(), strict=True):
        check = result.checks[name]
        if check.verdict == "undetermined":
            continue
        periods = camera / 20
        assert abs(periods - round(periods)) * 20 < 0.25
        assert check.alternatives
        for seconds in check.alternatives:
            assert abs(seconds / STEP / 20 - round(seconds / STEP / 20)) * 20 < 1.6


def test_poses_in_another_convention_are_named(tmp_path):
    """A scene whose poses were written in OpenCV's axes is read as if they were OpenGL's."""
    scene = sphere_scene(tmp_path, [*TRUTH.tolist(), 0.12], frames=50, spheres=Spheres(6, 3), size=(72, 64))
    scene.frame_cache.prepare(scene.cameras)
    turn = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))
    cameras = tuple(replace(c, camera_to_world=c.camera_to_world @ turn) for c in scene.cameras)
    result = synchronize(replace(scene, cameras=cameras), audio="off")
    assert "sure" not in result.verdicts.values()
    assert all("OpenCV axes" in check.advice for check in result.checks.values())


def test_inverted_poses_are_named_though_no_lines_meet(tmp_path):
    """World-to-camera poses of cameras that all look at the origin: read as places, they lie in nearly one."""
    scene = sphere_scene(tmp_path, TRUTH.tolist(), frames=40, spheres=Spheres(6, 3), size=(72, 64))
    scene.frame_cache.prepare(scene.cameras)
    written = [torch.linalg.inv(camera.camera_to_world) for camera in scene.cameras]
    for index, pose in enumerate(written):
        pose[0, 3] += 1e-6 * index
    pairs = zip(scene.cameras, written, strict=True)
    nearby, origin = near_origin(tuple(replace(camera, camera_to_world=pose) for camera, pose in pairs))
    result = synchronize(replace(scene, cameras=nearby, origin=origin), audio="off")
    assert "sure" not in result.verdicts.values()
    assert all("world-to-camera," in check.advice for check in result.checks.values())


def test_axes_are_looked_at_where_lines_disagree_though_all_pairs_agree(tmp_path):
    """As those of cameras on one side do, whose epipolar lines are much the same in either reading."""
    scene = sphere_scene(tmp_path, TRUTH.tolist(), frames=40, spheres=Spheres(6, 3), size=(72, 64))
    scene.frame_cache.prepare(scene.cameras)
    turn = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))
    turned = tuple(replace(c, camera_to_world=c.camera_to_world @ turn) for c in scene.cameras)
    agreeing = [
        Comparison(first, second, None, Peak(0.0, 0.01, 9.0, 9.0), "")
        for first, second in [(0, 1), (0, 2), (1, 2), (2, 3)]
    ]
    wrong, right = (prepare_cameras(replace(scene, cameras=cameras)) for cameras in (turned, scene.cameras))
    assert "OpenCV axes" in convention_hint(turned, wrong, agreeing)
    assert convention_hint(turned, replace(wrong, exact=True), agreeing) == ""
    assert convention_hint(scene.cameras, right, agreeing) == ""


@pytest.mark.parametrize("turn", CONVENTIONS.values(), ids=CONVENTIONS)
def test_conventions_lead_back_to_the_pose(turn):
    """Each convention's matrix of a pose, read as what it is, is the pose again."""
    generator = torch.Generator().manual_seed(0)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.linalg.qr(torch.randn(3, 3, generator=generator).double())[0]
    pose[:3, 3] = torch.tensor([1.0, 2.0, 3.0])
    flip = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))
    written = (pose @ flip, torch.linalg.inv(pose), torch.linalg.inv(pose @ flip))
    torch.testing.assert_close(turn(written[list(CONVENTIONS.values()).index(turn)]), pose)


def test_checks_of_undetermined_cameras():
    offsets, errors = torch.tensor([[0.0, torch.nan], [1.0, 1.0]], dtype=torch.float64)
    result = SyncResult(list("ab"), 0, "tracks", offsets, errors, [], [], reasons={"b": "still"})
    checks = with_checks(result, [], [], STEP, "turn the poses").checks
    assert checks["b"] == Check("undetermined", reason="still", advice="turn the poses")
    # A reference that nothing is placed against is as little determined as they.
    assert set(reviewed(replace(result, checks=checks)).verdicts.values()) == {"undetermined"}


def test_warnings_and_what_sound_places_are_not_sure():
    checks = {"a": Check("sure"), "b": Check("undetermined"), "c": Check("check", reason="late"), "d": Check("sure")}
    result = replace(solved([]), checks=checks, warnings={"b": "from its sound", "c": "jumps"}, reasons={"d": "lost"})
    assert reviewed(result).verdicts == {"a": "sure", "b": "check", "c": "check", "d": "undetermined"}
    assert reviewed(result).checks["b"].reason == "from its sound"
    assert reviewed(result).checks["c"].reason == "jumps; late"


@pytest.mark.parametrize(("cadence", "verdict"), [("", "sure"), ("frames are shown twice in its video", "check")])
@pytest.mark.parametrize("error", [0.08, 0.09])
def test_a_wide_error_is_a_doubt_where_frames_are_out_of_order(cadence, verdict, error):
    """Three standard errors of a quarter of a frame are the limit, and only where there is such a reason."""
    result = solved([PairLag(i, j, float(TRUTH[i] - TRUTH[j]), 1e-3, 9.0, 0.0, "") for i in range(4) for j in range(i)])
    result = replace(result, stderr=torch.full((4,), error * STEP, dtype=torch.float64))
    checks = with_checks(result, all_pairs(), [], STEP, cadences={"b": cadence} if cadence else None).checks
    assert checks["b"].verdict == (verdict if error > 0.25 / 3 else "sure")
    assert checks["b"].reason == (cadence if verdict == checks["b"].verdict == "check" else "")
    assert checks["c"].verdict == "sure"
