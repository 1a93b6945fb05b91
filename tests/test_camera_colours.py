"""Colours of cameras: exact identity when off, no drift, planted colours found, closed-form fits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from wave_backend import synced_waves, wave_scene

from syncnerf.assembly import assemble, make_batches
from syncnerf.backend import Rendering
from syncnerf.camera_colours import CameraColours, fit_colours
from syncnerf.config import ColoursConfig, HeldOutConfig
from syncnerf.evaluation.evaluate import Scoring, evaluate
from syncnerf.evaluation.protocols import FULL, HOLDOUT
from syncnerf.held_out import HeldOutOptimizer
from syncnerf.job import Job
from syncnerf.options import parse
from syncnerf.scene.frame_cache import FrameCache

PLANTED = [0.63, 0.0, -0.2, 0.35]
"""Seconds; camera 0 is the test view."""
GAIN, BIAS = torch.tensor([0.8, 1.1, 0.9]), torch.tensor([0.05, -0.04, 0.02])
"""Colours of that camera."""


def rendering(count: int = 6, moments: int = 0) -> Rendering:
    shape = (count, moments, 3) if moments else (count, 3)
    rgb = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return Rendering(rgb, rgb[..., 0], rgb[..., 1], {"static_rgb": rgb.reshape(count, -1, 3)[:, 0], "count": 4})


def stirred(untrained: tuple[int, ...] = (0,)) -> CameraColours:
    colours = CameraColours(ColoursConfig(camera_colours="learn"), 4, untrained)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for table in (colours.log_gains, colours.biases):
            table.copy_(0.3 * torch.randn(4, 3, generator=generator))
    return colours


@pytest.mark.parametrize(("mode", "known"), [("off", False), ("auto", True)])
def test_off_returns_the_very_rendering_and_learns_nothing(mode, known):
    colours = CameraColours(ColoursConfig(camera_colours=mode), 4, known=known)
    given = rendering()
    assert colours(torch.zeros(6, dtype=torch.int64), given) is given
    assert colours.recorded(2, given.rgb) is given.rgb
    assert not list(colours.parameters())
    assert not colours.state_dict()
    assert colours.param_groups() == []
    assert colours.penalties() == {}


def test_auto_learns_where_the_background_is_unknown():
    assert CameraColours(ColoursConfig(), 4).learned
    assert not CameraColours(ColoursConfig(), 4, known=True).learned


@pytest.mark.parametrize("moments", [0, 5])
def test_each_ray_gets_its_cameras_gain_and_bias(moments):
    colours, given = stirred(), rendering(moments=moments)
    cameras = torch.tensor([0, 1, 2, 3, 3, 1])
    seen = colours(cameras, given)
    gains, biases = colours.values()
    for ray, camera in enumerate(cameras.tolist()):
        torch.testing.assert_close(seen.rgb[ray], given.rgb[ray] * gains[camera] + biases[camera])
        torch.testing.assert_close(
            seen.extras["static_rgb"][ray], given.extras["static_rgb"][ray] * gains[camera] + biases[camera]
        )
        torch.testing.assert_close(colours.recorded(camera, given.rgb[ray]), seen.rgb[ray])
    assert seen.extras["count"] == 4
    assert torch.equal(seen.depth, given.depth)


def test_the_training_cameras_mean_is_the_identity_whatever_the_parameters_are():
    gains, biases = stirred(untrained=(1,)).values()
    trained = [0, 2, 3]
    torch.testing.assert_close(gains[trained].log().mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(biases[trained].mean(0), torch.zeros(3), atol=1e-6, rtol=0)


def test_an_untrained_camera_keeps_its_own_values():
    colours = CameraColours(ColoursConfig(camera_colours="learn"), 3, untrained=(1,))
    given = rendering().rgb
    torch.testing.assert_close(colours.recorded(1, given), given)
    gain, bias = torch.tensor([1.2, 0.8, 1.0]), torch.tensor([0.1, 0.0, -0.05])
    colours.set_camera(1, gain, bias)
    torch.testing.assert_close(colours.recorded(1, given), given * gain + bias)
    with torch.no_grad():
        colours.log_gains[0] += 1.0
    torch.testing.assert_close(colours.recorded(1, given), given * gain + bias)


def test_planted_colours_are_learned_up_to_what_all_have_in_common():
    generator = torch.Generator().manual_seed(3)
    true_log, true_bias = 0.2 * torch.randn(5, 3, generator=generator), 0.05 * torch.randn(5, 3, generator=generator)
    colours = CameraColours(ColoursConfig(camera_colours="learn", camera_colours_prior=0.0), 5)
    optimizer = torch.optim.Adam(colours.param_groups()[0]["params"], lr=0.02)
    scene = torch.rand(400, 3, generator=generator)
    cameras = torch.randint(5, (400,), generator=generator)
    # Planted about the identity: the scene's own colours are what the cameras show on the average.
    true_log, true_bias = true_log - true_log.mean(0), true_bias - true_bias.mean(0)
    truth = scene * true_log[cameras].exp() + true_bias[cameras]
    for _ in range(600):
        optimizer.zero_grad()
        (colours(cameras, Rendering(scene, scene[:, 0], scene[:, 0])).rgb - truth).square().mean().backward()
        optimizer.step()
    gains, biases = colours.values()
    torch.testing.assert_close(gains, true_log.exp(), atol=5e-3, rtol=0)
    torch.testing.assert_close(biases, true_bias, atol=5e-3, rtol=0)


def test_the_prior_is_the_weighted_mean_square_of_what_differs():
    colours = stirred(untrained=())
    gains, biases = colours.values()
    expected = 0.5 * (gains.log().square().mean() + biases.square().mean())
    torch.testing.assert_close(
        colours.penalties()["camera_colours"], ColoursConfig().camera_colours_prior * expected, atol=1e-8, rtol=1e-5
    )


def test_closed_form_fit_is_least_squares_and_stays_put_on_one_grey():
    generator = torch.Generator().manual_seed(4)
    scene = torch.rand(500, 3, generator=generator)
    truth = scene * torch.tensor([1.3, 0.9, 1.0]) + torch.tensor([-0.1, 0.02, 0.0])
    noisy = truth + 0.01 * torch.randn(500, 3, generator=generator)
    gain, bias = fit_colours(scene, noisy, ridge=0.0)
    for channel in range(3):
        design = torch.stack([scene[:, channel], torch.ones(500)], dim=-1).double()
        expected = torch.linalg.lstsq(design, noisy[:, channel, None].double()).solution[:, 0]
        torch.testing.assert_close(torch.stack([gain[channel], bias[channel]]), expected, atol=1e-6, rtol=0)
    gain, bias = fit_colours(torch.full((50, 3), 0.5), torch.full((50, 3), 0.6))
    torch.testing.assert_close(0.5 * gain + bias, torch.full((3,), 0.6, dtype=torch.float64), atol=1e-3, rtol=0)
    assert (gain - 1).abs().max() < 0.1


@pytest.fixture
def tinted_scene(tmp_path):
    """Waves whose test camera has planted colours, and a field in the scene's own."""
    scene = wave_scene(tmp_path, PLANTED)
    name = scene.cameras[0].name
    source = scene.frame_cache.sources[name]
    shown = source.images / 255.0 * GAIN.numpy() + BIAS.numpy()
    tinted = replace(source, images=(shown * 255).round().clip(0, 255).astype(np.uint8))
    return replace(scene, frame_cache=FrameCache(tmp_path / "tinted", {**scene.frame_cache.sources, name: tinted}))


@pytest.mark.parametrize("protocol", [FULL, HOLDOUT])
def test_a_test_cameras_colours_are_fitted_with_its_offset_and_scored_beside_the_raw_ones(tinted_scene, protocol):
    synced = synced_waves(tinted_scene, initial=[0.0, *PLANTED[1:]])
    synced.colours = CameraColours(ColoursConfig(camera_colours="learn"), 4, tinted_scene.test)
    before = {name: value.clone() for name, value in synced.state_dict().items()}
    size = tinted_scene.cameras[0].intrinsics
    mask = protocol.fit_mask(size.height, size.width)
    found = HeldOutOptimizer(synced, tinted_scene, HeldOutConfig()).fit(0, mask)
    assert found.seconds == pytest.approx(PLANTED[0], abs=3e-3)
    gains, biases = synced.colours.values()
    torch.testing.assert_close(gains[0], GAIN, atol=0.02, rtol=0)
    torch.testing.assert_close(biases[0], BIAS, atol=0.02, rtol=0)
    score = evaluate(synced, tinted_scene, Scoring(protocol, test_frames=4)).mean
    assert score["psnr_colours"] > 38 > 30 > score["psnr"]
    # Only the test camera's entries have changed.
    for name, value in synced.state_dict().items():
        if name.startswith("colours."):
            assert torch.equal(value[1:], before[name][1:])
    without = evaluate(synced, tinted_scene, Scoring(protocol.without_fit(), test_frames=1))
    assert without.mean["psnr_colours"] is None


def test_scenes_of_one_kind_of_camera_are_scored_as_ever(tmp_path):
    scene = wave_scene(tmp_path, PLANTED)
    synced = synced_waves(scene, initial=PLANTED)
    assert not synced.colours.learned
    assert evaluate(synced, scene, Scoring(FULL, test_frames=1)).mean["psnr_colours"] is None


def test_training_gives_colours_a_gradient_and_the_checkpoint_keeps_them(tiny_arguments):
    config = parse([*tiny_arguments, "--camera-colours=learn"])
    job = Job.of(config)
    scene, synced = job.scene, assemble(job)
    batch = make_batches(job).draw(torch.Generator().manual_seed(0))
    rendering = synced.render_batch(batch, torch.Generator().manual_seed(0))
    sum(synced.losses(rendering, batch, 0).values()).backward()
    assert (synced.colours.biases.grad[list(scene.train)] != 0).any()
    assert (synced.colours.biases.grad[list(scene.test)] == 0).all()
    assert {"colours.log_gains", "colours.biases"} <= synced.state_dict().keys()
    assert "camera_colours" in {group["name"] for group in synced.param_groups(1e-2)}
    assert not assemble(Job.of(parse(tiny_arguments))).colours.learned, "rendered before white"
