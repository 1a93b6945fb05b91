"""Exact poses are told from wrong ones, and the last step towards a lag finds what was planted."""

import sys
from dataclasses import replace

import pytest
import torch
from changed_scenes import perturbed, with_gaps
from moving_spheres import Spheres, sphere_scene
from scipy.ndimage import gaussian_filter1d

from syncnerf.scene import Scene
from syncnerf.sync import alignment
from syncnerf.sync.alignment import are_exact, are_whole
from syncnerf.sync.correlation import condition, levelled, smooth
from syncnerf.sync.epipolar_cameras import prepare_cameras
from syncnerf.sync.frame_products import frame_products
from syncnerf.sync.landscape import Peak


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    folder = tmp_path_factory.mktemp("spheres")
    made = sphere_scene(folder, [0.0, 0.1, -0.13, 0.05], frames=60, spheres=Spheres(6, 2), size=(84, 72))
    made.frame_cache.prepare(made.cameras)
    return made


def test_true_poses_are_exact_and_turned_ones_are_not(scene):
    prepared = prepare_cameras(scene)
    assert are_exact(prepared)
    assert are_whole(prepared)
    assert not are_exact(prepare_cameras(perturbed(scene, 0, degrees=1.0)))
    put_back = [replace(prepared.energies[0], pace=1.25), *prepared.energies[1:]]
    assert not are_whole(replace(prepared, energies=put_back))


@pytest.mark.parametrize(
    ("shifts", "exact"),
    [([0.02, 0.21, -0.22, 0.5, 0.02, 3.0], True), ([0.02, 0.21, 0.22, 0.5, -1.58, 2.0], False), ([0.3] * 6, False)],
)
def test_two_pairs_far_from_aligned_are_enough_to_say_no(scene, monkeypatch, shifts, exact):
    """Lines of six pairs: half of them agree nearly as they are; one may not by chance, two hardly."""
    left = iter(shifts)
    monkeypatch.setattr(alignment, "_line_shift", lambda cameras, first, second: next(left))
    assert are_exact(prepare_cameras(scene)) == exact


@pytest.mark.parametrize(("pieces", "whole"), [(1, True), (3, True), (6, False)])
def test_videos_are_whole_unless_much_is_missing_here_and_there(scene, pieces, whole):
    """A fifth of one video stands still, in one piece, in three or in six; the poses are as exact as before."""
    prepared = prepare_cameras(scene)
    energy = prepared.energies[1]
    known = torch.ones_like(energy.informative)
    length = len(known) // (5 * pieces)
    for piece in range(pieces):
        begin = 5 + piece * (len(known) - 5) // pieces
        known[begin : begin + length] = False
    still = replace(energy, values=energy.values * known, informative=energy.informative & known)
    energies = [prepared.energies[0], still, *prepared.energies[2:]]
    changed = replace(prepared, energies=energies)
    assert are_whole(changed) == whole
    assert are_exact(changed)
    assert replace(changed, exact=True, whole=whole).aligned == whole


def test_tangents_count_where_poses_are_exact_though_frames_are_missing(scene, monkeypatch):
    """Tangents do not feel the edges of gaps; where poses are wrong, no half-plane touches the same in two views."""
    module, asked = sys.modules["syncnerf.sync.synchronize"], []
    original = module.shared_tangents
    monkeypatch.setattr(module, "shared_tangents", lambda *each: asked.append(original(*each)) or asked[-1])
    broken = with_gaps(with_gaps(scene), 1)
    prepared = prepare_cameras(broken)
    assert are_exact(prepared)
    assert not are_whole(prepared)
    module.synchronize(broken)
    assert len(asked) == 1
    assert asked[0]
    module.synchronize(perturbed(scene, 0, degrees=1.0))
    assert len(asked) == 1


def test_two_cameras_are_too_few_to_tell(scene):
    prepared = prepare_cameras(replace(scene, cameras=scene.cameras[:2]))
    assert not are_exact(prepared)


@pytest.mark.parametrize("lag", [-0.3, 0.0, 0.45, 6.2])
def test_refined_peak_is_where_the_signals_agree(lag):
    generator = torch.Generator().manual_seed(0)
    # Sums of slow waves: known between samples too.
    frequency = torch.empty(40, 12).uniform_(0.05, 0.35, generator=generator)
    phase = torch.empty(40, 12).uniform_(0, 6.28, generator=generator)

    def signals(shift: float) -> torch.Tensor:
        times = torch.arange(90) - shift
        return torch.sin(6.2832 * frequency[..., None] * times + phase[..., None]).sum(1)

    interval = 0.04
    products = frame_products(signals(0.0), signals(lag), (lag + 0.8) * interval, interval)
    start = Peak((lag + 0.8) * interval, 1.0, 9.0, 5.0)
    refined = products.refined(start)
    assert refined.lag == pytest.approx(lag * interval, abs=0.03 * interval)
    assert 0 < refined.deviation < 0.1 * interval
    assert (refined.significance, refined.lead) == (start.significance, start.lead)


def test_what_a_whole_body_shares_in_one_view_alone_does_not_move_the_lag():
    """Forty of 200 lines change each in its own way, in both views; all of them together differently in each."""
    plain, level = [], []
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        own = smooth(torch.randn(40, 90, generator=generator), 0.7).exp()
        shown = [own * smooth(torch.randn(1, 90, generator=generator), 0.7).exp() ** 2 for _ in range(2)]
        shown = [torch.cat([torch.zeros(160, 90), each]) for each in shown]
        for found, signals in ((plain, shown), (level, [levelled(each, 0.5) for each in shown])):
            products = frame_products(*(condition(each) for each in signals), 0.0, 1.0)
            found.append(products.refined(Peak(0.0, 1.0, 9.0, 9.0)).lag)
    plain, level = torch.tensor(plain).square().mean().sqrt(), torch.tensor(level).square().mean().sqrt()
    assert float(level) < 0.5 * float(plain)


def test_levels_are_those_of_the_lines_around():
    """Seven of 200 lines, against another package's filter: they keep the root of what they do as a whole."""
    alone = torch.zeros(200, 60)
    strength = torch.linspace(1, 4, 60)
    alone[97:104] = strength
    around = torch.from_numpy(gaussian_filter1d(alone.numpy(), 3.0 / 0.5, axis=0, mode="nearest", truncate=3.0))
    kept = levelled(alone, 0.5)
    torch.testing.assert_close(kept, alone / (1 + around / around.mean()).sqrt(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(kept[100, -1] / kept[100, 0], torch.tensor(2.0), rtol=0.1, atol=0.0)
    # A video with more contrast has no other motion.
    torch.testing.assert_close(levelled(9 * alone, 0.5), 9 * kept)


def test_a_single_sample_says_nothing(recwarn):
    """What two frames give: no change of change."""
    assert not condition(torch.ones(3, 1)).any()
    assert not recwarn.list
