"""Views as questions: their rays, rows, parts and lenses; batches of them; fits through a backend that renders them."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from evaluation_fixtures import ring_of_cameras
from wave_backend import WaveBackend, WaveViews, clock_of, wave_scene

from syncnerf.batch import RayBatch, ViewBatch
from syncnerf.camera_pixels import choose_pixels
from syncnerf.clock_search import ClockSearch
from syncnerf.config import HeldOutConfig, OffsetsConfig
from syncnerf.held_out import HeldOutOptimizer
from syncnerf.pixels import render_pixels
from syncnerf.questions import COLOURS, SHOWN, SLOPES, RayQuestion, ViewQuestion
from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.view_batches import ViewBatches
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.lens import Lens
from syncnerf.scene.views import Views
from syncnerf.synced import SyncedBackend

PLANTED = [0.63, 0.0, -0.2, 0.35]


def views_of(camera, *frames: int) -> Views:
    return Views.of(camera, frames, 2.0, 6.0)


@pytest.fixture
def camera():
    (camera,) = ring_of_cameras(1, 12, 8, 5, ["a"])
    return camera


def test_views_have_the_rays_of_their_camera(camera):
    views = views_of(camera, 0, 3)
    rays, own = views.rays(), camera.all_rays(2.0, 6.0)
    for name in ("origins", "directions", "near", "far"):
        assert torch.equal(getattr(rays, name), getattr(own, name).repeat(2, *[1] * (getattr(own, name).ndim - 1)))
    places = torch.tensor([[5, 40], [95, 0]])
    assert torch.equal(views.rays(places).directions, own.directions[places.reshape(-1)])


def test_parts_have_their_own_rays_rows_and_calibration(camera):
    whole = views_of(camera, 0)
    part = whole.cropped(torch.tensor([[3, 2]]), 5, 4)
    everything = whole.rays().directions.reshape(8, 12, 3)
    assert torch.equal(part.rays().directions.reshape(4, 5, 3), everything[2:6, 3:8])
    assert torch.equal(part.directions()[0], everything[2:6, 3:8])
    assert torch.equal(part.rows(), whole.rows()[:, 2:6])
    again = part.cropped(torch.tensor([[1, 1]]), 2, 2)
    assert torch.equal(again.rays().directions.reshape(2, 2, 3), everything[3:5, 4:6])
    # A point is where K and the pose put it: through the centre of the pixel whose ray it lies on.
    place = part.rays().origins[7] + 3.0 * part.rays().directions[7].double()
    seen = part.calibration()[0] @ (part.world_to_camera()[0] @ torch.cat([place, torch.ones(1).double()]))[:3]
    torch.testing.assert_close(seen[:2] / seen[2], torch.tensor([2.5, 1.5]).double(), atol=1e-5, rtol=0)


def test_scaled_views_see_the_same_with_fewer_pixels(camera):
    small = views_of(camera, 0).scaled(0.5)
    assert small.size == (6, 4)
    own = camera.resized(6, 4).all_rays(2.0, 6.0)
    torch.testing.assert_close(small.rays().directions, own.directions)
    assert small.rows().min() == pytest.approx(-0.5 + 0.5 / 4)
    with pytest.raises(ValueError, match="scale before you crop"):
        small.cropped(torch.tensor([[1, 1]]), 2, 2).scaled(2.0)


@pytest.mark.parametrize("lens", [Lens(k1=-0.2, k2=0.05, p1=0.01, p2=-0.02), Lens(k1=0.1, k2=-0.02, fisheye=True)])
def test_rays_through_a_lens_meet_it_where_it_puts_them(lens):
    size = Intrinsics(12, 8, 14.0, 14.0, 6.0, 4.0)
    views = replace(views_of(replace(ring_of_cameras(1, 12, 8, 5, ["a"])[0], intrinsics=size), 0), lens=lens)
    local = views.rays().directions.double() @ views.poses[0, :3, :3]
    ideal = torch.stack([local[:, 0] / -local[:, 2], -local[:, 1] / -local[:, 2]], dim=-1) * 14.0
    ideal += torch.tensor([6.0, 4.0])
    row, column = torch.meshgrid(torch.arange(8) + 0.5, torch.arange(12) + 0.5, indexing="ij")
    expected = torch.stack([column, row], dim=-1).reshape(-1, 2).double()
    torch.testing.assert_close(lens.distorted(ideal, size), expected, atol=1e-4, rtol=0)


def test_a_batch_of_views_asks_at_the_times_of_its_rays(tmp_path):
    """Offset, rate and readout time correct a view as they correct its rays, with the same gradients."""
    scene = wave_scene(tmp_path, PLANTED)
    settings = OffsetsConfig(offset_rates="learn", rolling_shutter="learn")
    clock = clock_of(scene, settings, 100, PLANTED)
    with torch.no_grad():
        clock.skews += torch.tensor([0.0, 0.01, -0.02, 0.03])
        clock.row_times += torch.tensor([0.0, 0.02, 0.03, -0.01])
    synced = SyncedBackend(clock, WaveBackend(clock.range))
    batch = ViewBatches(scene, SamplingConfig(batch_size=200, view_side=8)).draw(torch.Generator().manual_seed(0), 0)
    assert isinstance(batch, ViewBatch)
    count, pixels = len(batch), batch.views.width * batch.views.height
    each = torch.arange(count).repeat_interleave(pixels)
    rows = batch.views.rows().repeat_interleave(batch.views.width, dim=1).reshape(-1).float()
    loose = RayBatch(batch.views.rays(), batch.cameras[each], batch.frame_times[each], rows, batch.rgb.reshape(-1, 3))
    gradients = []
    for some in (batch, loose):
        clock.zero_grad()
        rendering = synced.render_batch(some)
        (rendering.rgb - some.rgb).square().mean().backward()
        gradients.append([rendering.rgb.detach().reshape(-1, 3), *(p.grad.clone() for p in clock.unknowns.values())])
    assert len(gradients[0]) == 4
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
        assert (found != 0).any()
    for name in ("frame_times", "cameras"):
        assert len(getattr(batch.apply(lambda tensor: tensor[1:2]), name)) == 1


def test_an_offset_is_found_through_pictures_and_few_are_drawn(tmp_path):
    """Frames at the candidates' times are the same few pictures, of a camera that stands still."""
    scene = wave_scene(tmp_path, PLANTED)
    clock = clock_of(scene, OffsetsConfig(), 100, [0.0, *PLANTED[1:]])
    pictures, rays = (SyncedBackend(clock, kind(clock.range)) for kind in (WaveViews, WaveBackend))
    mask = torch.ones(12, 12, dtype=torch.bool)
    found = HeldOutOptimizer(pictures, scene, HeldOutConfig()).fit(0, mask)
    assert found.seconds == pytest.approx(PLANTED[0], abs=3e-4)
    clock.set_camera(0, 0.0)
    expected = HeldOutOptimizer(rays, scene, HeldOutConfig()).fit(0, mask)
    assert found.seconds == pytest.approx(expected.seconds, abs=1e-6)
    torch.testing.assert_close(found.errors, expected.errors, equal_nan=True)
    pictures.backend.drawn = 0
    search = ClockSearch(pictures, scene, HeldOutConfig())
    pixels = choose_pixels(scene, 0, 0.0, mask, 1024, 0)
    search.errors(pixels, found.grid)
    # 19 candidates of 16 frames are 304 pictures; a frame's distance apart they show 38 moments at most.
    assert (len(found.grid), len(pixels.frames)) == (19, 16)
    assert 16 <= pictures.backend.drawn <= 38


def test_slopes_of_pictures_are_found_forward_and_those_of_rays_backward(tmp_path):
    scene = wave_scene(tmp_path, PLANTED)
    clock = clock_of(scene, OffsetsConfig(), 100, PLANTED)
    times, readouts = torch.tensor([0.1, -0.4]).double(), torch.tensor([0.05, 0.0]).double()
    question = ViewQuestion(views_of(scene.cameras[1], 0, 0), times, readouts, SLOPES)
    pictures, rays = (kind(clock.range)(question) for kind in (WaveViews, WaveBackend))
    torch.testing.assert_close(pictures.slopes, rays.slopes.float(), rtol=1e-4, atol=1e-5)
    assert pictures.slopes.abs().max() > 0.1


@pytest.mark.parametrize(
    ("change", "wanted", "said"),
    [
        (lambda answer: answer.changed(lambda values: values[:, None]), SHOWN, r"shape \[2, 1, 3\] where \[2, 3\]"),
        (lambda answer: answer.changed(lambda values: values[:1]), SHOWN, r"shape \[1, 3\] where \[2, 3\]"),
        (lambda answer: replace(answer, depth=None), SHOWN, "no depth"),
        (lambda answer: replace(answer, accumulation=None), SHOWN, "no accumulation"),
        (lambda answer: replace(answer, depth=None), COLOURS, None),
    ],
)
def test_an_answer_to_another_question_is_refused(monkeypatch, change, wanted, said):
    """Shapes that would spread in a loss, pictures that would come too late."""
    backend = WaveBackend(torch.tensor([-1.0, 3.0], dtype=torch.float64))
    rays, own = ring_of_cameras(1, 12, 8, 5, ["a"])[0].all_rays(2.0, 6.0)[:2], WaveBackend.render_rays
    monkeypatch.setattr(WaveBackend, "render_rays", lambda *arguments: change(own(*arguments)))
    question = RayQuestion(rays, torch.zeros(2, dtype=torch.float64), wanted)
    with pytest.raises(ValueError, match=f"WaveBackend: .*{said}") if said else nullcontext():
        assert backend(question).rgb.shape == (2, 3)


@pytest.mark.parametrize("unlike", ["poses", "readouts", "nothing"])
def test_pixels_of_pictures_are_those_of_their_own_view(tmp_path, unlike):
    """Views at one moment may differ in all else; what is alike is drawn once."""
    scene = wave_scene(tmp_path, PLANTED)
    views, others = (Views.of(scene.cameras[index], [0, 0], 2.0, 6.0) for index in (0, 1))
    if unlike == "poses":
        views = replace(views, poses=torch.stack([views.poses[0], others.poses[0]]))
    readouts = torch.tensor([0.3, -0.3 if unlike == "readouts" else 0.3], dtype=torch.float64)
    backend = WaveViews(torch.tensor([-1.0, 3.0], dtype=torch.float64)).eval()
    question = ViewQuestion(views, torch.full((2,), 0.2, dtype=torch.float64), readouts)
    places = torch.tensor([[5, 17, 143], [5, 60, 2]])
    found = render_pixels(backend, question, places).rgb
    assert backend.drawn == (1 if unlike == "nothing" else 2)
    pictures = zip(backend(question).rgb.flatten(1, 2), places, strict=True)
    expected = torch.stack([picture[own] for picture, own in pictures])
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_cameras_views_have_its_readout_time(tmp_path):
    scene = wave_scene(tmp_path, PLANTED)
    clock = clock_of(scene, OffsetsConfig(rolling_shutter="learn"))
    with torch.no_grad():
        clock.row_times.copy_(torch.tensor([0.01, 0.02, 0.03, -0.04]))
    synced = SyncedBackend(clock, WaveBackend(clock.range))
    question = synced.of_camera(3, views_of(scene.cameras[3], 0), scene.cameras[3].frame_times[:1])
    rows = (torch.arange(12, dtype=torch.float64) + 0.5) / 12 - 0.5
    expected = clock(torch.full((12,), 3), scene.cameras[3].frame_times[:1].expand(12), rows)
    torch.testing.assert_close(question.row_times()[0], expected)
