"""The Gaussians backend: its answers about views through a lens, which it follows ray by ray, and who moves where."""

from dataclasses import replace

import pytest
import torch
from gaussian_fields import flying_gaussians, through_lens

from syncnerf.batch import ViewBatch
from syncnerf.questions import SLOPES
from syncnerf.scene.lens import Lens
from syncnerf.testing.samples import scene_geometry
from syncnerf_gaussians.options import CloudConfig, DensityConfig, ScaffoldConfig
from syncnerf_gaussians.spec import SPEC, GaussiansConfig

HARDLY_ANY = Lens(k1=1e-9)
"""A lens that bends nothing, but whose views go the way of bent ones."""


@pytest.mark.parametrize("motion", ["scaffold", "free"])
@pytest.mark.parametrize("background", [(1.0, 0.5, 0.0), None])
def test_views_through_a_lens_that_bends_nothing_are_views(background, motion):
    """Pictures, clocks' gradients, derivatives by time, and what each Gaussian has to do with the errors."""
    found = []
    for lens in (Lens(), HARDLY_ANY):
        field, question = flying_gaussians(background, motion), through_lens(lens)
        answer = field(question)
        rgb = torch.rand(answer.rgb.shape, generator=torch.Generator().manual_seed(1))
        batch = ViewBatch(question.views, torch.arange(3), question.times.detach(), rgb)
        sum(field.losses(answer, batch, 0).values()).backward()
        (sums,) = field.after_backward(answer, batch, 0)
        slopes = field.render_slopes(question)
        torch.testing.assert_close(slopes.rgb, answer.rgb.detach(), atol=1e-5, rtol=0)
        found.append((answer.rgb.detach(), question.times.grad, slopes.slopes, sums))
    for plain, bent in zip(*found, strict=True):
        assert float(plain.abs().amax()) > 0.0
        torch.testing.assert_close(bent, plain, atol=2e-4 * float(plain.abs().amax()), rtol=0)


@pytest.mark.parametrize("motion", ["scaffold", "free"])
def test_views_are_the_same_however_many_are_drawn_together(motion, monkeypatch):
    """Pictures, gradients of everything, derivatives by time, and what each Gaussian has to do with the errors."""
    found = []
    for count in (1, 2, 8):
        monkeypatch.setattr("syncnerf_gaussians.drawing.AT_ONCE", count)
        field, question = flying_gaussians(None, motion), through_lens(Lens())
        answer = field(replace(question, wanted=replace(question.wanted, depth=True)))
        weights = torch.rand(answer.rgb.shape, generator=torch.Generator().manual_seed(1))
        (answer.rgb * weights).sum().backward()
        gradients = [question.times.grad, *(one.grad for one in field.parameters() if one.grad is not None)]
        seen = answer.extras["seen"](weights[..., 0])
        found.append((answer.rgb.detach(), answer.depth, field.render_slopes(question).slopes, seen, *gradients))
    assert all(bool(tensor.any()) for tensor in found[0][:5])
    for alone, *together in zip(*found, strict=True):
        for other in together:
            torch.testing.assert_close(other, alone, atol=1e-5 * float(alone.detach().abs().amax()), rtol=1e-4)


@pytest.mark.parametrize("bands", [3, 9])
def test_where_a_clock_is_learned_bands_are_parts_of_pictures_at_the_moments_of_their_middles(bands, monkeypatch):
    monkeypatch.setattr("syncnerf_gaussians.pictures.BANDS", bands)
    field, question = flying_gaussians((1.0, 1.0, 1.0)), through_lens(Lens())
    height = question.views.height
    rows = ((torch.arange(height, dtype=torch.float64) + 0.5) / height - 0.5).split(height // bands)

    def put_together(readout: float) -> torch.Tensor:
        still, middles = torch.zeros_like(question.readouts), [readout * part.mean() for part in rows]
        every = [field(replace(question, times=question.times + late, readouts=still)) for late in middles]
        parts = [answer.rgb.split(len(rows[0]), dim=1)[number] for number, answer in enumerate(every)]
        return torch.cat(parts, dim=1).detach()

    readouts = torch.full_like(question.readouts, 0.1).requires_grad_()
    answer = field(replace(question, readouts=readouts)).rgb
    torch.testing.assert_close(answer.detach(), put_together(0.1), atol=1e-5, rtol=0)
    with torch.no_grad():
        fitted = field(replace(question, readouts=readouts, wanted=SLOPES)).rgb
    torch.testing.assert_close(fitted, answer.detach(), atol=1e-5, rtol=0)
    weights = answer.detach() - put_together(0.0)
    (answer * weights).sum().backward()
    slope = ((put_together(0.101) - put_together(0.099)) * weights).sum() / 0.002
    assert float(readouts.grad.sum()) == pytest.approx(float(slope), rel=0.02)


def test_training_through_a_lens_finds_those_that_show_nothing():
    """The weights in bent pictures are their opacity."""
    field, question = flying_gaussians((1.0, 1.0, 1.0)), through_lens(Lens(k1=-0.3, k2=0.1, p1=0.02))
    answer = field(question)
    assert not torch.allclose(answer.rgb, field(through_lens(Lens())).rgb, atol=1e-2)
    torch.testing.assert_close(field.render_slopes(question).rgb, answer.rgb.detach())
    batch = ViewBatch(question.views, torch.arange(3), question.times.detach(), torch.zeros_like(answer.rgb))
    (sums,) = field.after_backward(answer, batch, 0)
    torch.testing.assert_close(sums[0].sum(), answer.accumulation.sum().detach(), rtol=1e-4, atol=0)
    field.after_step(0)
    assert torch.equal(field.attention.sums, sums)


@pytest.mark.parametrize("idle", ["faint", "unseen"])
def test_those_that_show_nothing_join_one_where_pictures_are_wrong(idle):
    """Their moments of the optimizer, and those of the one that they join, start afresh; all others keep theirs."""
    field, config = flying_gaussians((1.0, 1.0, 1.0)), DensityConfig(relocate_every=10, relocate_start=20)
    field.config = replace(field.config, density=config)
    idlers = torch.tensor([3, 20, 41])
    with torch.no_grad():
        field.attention.sums[0], field.attention.sums[1, 7], field.attention.sums[2] = 4.0, 5.0, 4.0
        if idle == "faint":
            field.cloud.opacity_logits[idlers] = torch.logit(torch.tensor(0.5 * config.idle_opacity))
        else:
            field.attention.sums[0, idlers] = 2.0 * config.idle_share
    before = field.cloud.means.detach().clone()
    assert not field.after_step(19)
    assert not field.after_step(28)
    replacements = field.after_step(29)
    moved = (field.cloud.means != before).any(dim=1).nonzero()[:, 0]
    assert torch.equal(moved, idlers)
    assert torch.equal(field.cloud.means[idlers], before[7].expand(3, 3))
    rows = torch.arange(60)
    rows[[3, 7, 20, 41]] = -1
    assert replacements
    assert all(torch.equal(one.rows, rows) and one.old is one.new for one in replacements)
    # All four share what was seen of the one, and half of it counts on.
    assert field.attention.sums[:, [3, 7, 20, 41]].T.tolist() == [[0.5, 0.625, 2.0]] * 4


def test_those_outside_the_hull_move_into_it():
    """Whatever they show: the cameras' silhouettes say that nothing is there; a cell beside the hull is not outside."""
    occupied = torch.zeros(32, 32, 32, dtype=torch.bool)
    occupied[:, :, :20] = True
    torch.manual_seed(0)
    geometry = scene_geometry(background=(1.0, 1.0, 1.0), occupied=occupied)
    density = DensityConfig(relocate_every=10, relocate_start=0)
    config = GaussiansConfig("scaffold", CloudConfig(60), ScaffoldConfig(nodes=8, moments=3), density)
    field = SPEC.build(config, geometry)
    low, high = geometry.bounds
    outside = torch.tensor([3, 20, 41])
    with torch.no_grad():
        field.attention.sums.fill_(1.0)
        field.cloud.means.copy_(low + (high - low) * torch.tensor([0.5, 0.5, 0.2]))
        field.cloud.means[outside] = low + (high - low) * torch.tensor([0.5, 0.5, 0.8])
        field.cloud.means[7] = low + (high - low) * torch.tensor([0.5, 0.5, 20.5 / 32])
        field.cloud.means[8] = low - 0.1
    before = field.cloud.means.detach().clone()
    field.after_step(9)
    moved = (field.cloud.means != before).any(dim=1).nonzero()[:, 0]
    assert moved.tolist() == [3, 8, 20, 41]
    assert field.hull.contains(field.cloud.means, torch.zeros(60)).all()


def test_those_that_hardly_a_camera_sees_move_away():
    """From cells between the cameras, if they rest: beyond the box nothing is said, and what moves may pass there."""
    torch.manual_seed(0)
    overlooked = torch.zeros(4, 4, 4, dtype=torch.bool)
    overlooked[0, 1, 3] = True
    density = DensityConfig(relocate_every=10, relocate_start=0)
    config = GaussiansConfig("scaffold", CloudConfig(60), ScaffoldConfig(nodes=8, moments=3), density)
    field = SPEC.build(config, replace(scene_geometry(background=None), overlooked=overlooked))
    low, high = field.geometry.bounds
    with torch.no_grad():
        field.attention.sums.fill_(1.0)
        field.cloud.nodes.fill_(-1)
        field.cloud.nodes[9] = 0
        field.cloud.means.copy_(low + (high - low) * torch.tensor([0.5, 0.5, 0.5]))
        field.cloud.means[[4, 9, 30]] = low + (high - low) * torch.tensor([0.1, 0.4, 0.9])
        field.cloud.means[12] = low + (high - low) * torch.tensor([0.1, 0.4, 1.1])
    before = field.cloud.means.detach().clone()
    field.after_step(9)
    assert (field.cloud.means != before).any(dim=1).nonzero()[:, 0].tolist() == [4, 30]


def test_a_view_of_a_long_video_moves_paths_as_far_as_one_of_a_short_one():
    """The longer a video, the fewer of its views show a knot, by slopes that are all noise here; Adam would make up for
    that."""
    walked, config = [], GaussiansConfig("scaffold", CloudConfig(60), ScaffoldConfig(nodes=8))
    for frames, every in ((80, 5), (1280, 80)):
        groups = SPEC.build(config, scene_geometry(frame_count=frames)).param_groups(1e-3)
        (rate,) = (group["lr"] for group in groups if group["name"] == "paths")
        knots, generator = torch.nn.Parameter(torch.zeros(500)), torch.Generator().manual_seed(0)
        optimizer = torch.optim.Adam([knots], lr=rate)
        for step in range(4000):
            knots.grad = torch.randn(500, generator=generator) if step % every == 0 else torch.zeros(500)
            optimizer.step()
        walked.append(float(knots.detach().std()) / (4000 / every) ** 0.5)
    assert walked[1] == pytest.approx(walked[0], rel=0.2)
