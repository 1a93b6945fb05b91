"""The rasteriser of Gaussians in C against its plain twin, and against itself."""

from dataclasses import replace

import pytest
import torch
from gaussian_scenes import (
    MOMENTS,
    VIEWS,
    assert_alike,
    leaves,
    near_the_camera,
    single,
    some_gaussians,
    some_motion,
    view,
)

from syncnerf_gaussians import kernel, reference
from syncnerf_gaussians.gaussians import Gaussians, Motion
from syncnerf_gaussians.raster import influence, rasterise, rasterise_rates
from syncnerf_gaussians.rotations import rotation_matrices

pytestmark = pytest.mark.skipif(kernel.library() is None, reason="no C compiler")


def drawn(gaussians: Gaussians, motion: Motion, views=VIEWS) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Pictures, and gradients of a sum of all their numbers with weights drawn once and for all."""
    inputs = leaves(gaussians, motion)
    pictures = rasterise(gaussians, views, motion)
    generator = torch.Generator().manual_seed(7)
    loss = 0.0
    for values in pictures[:2]:
        loss = loss + (values * torch.randn(values.shape, generator=generator, dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True)
    values = {name: value.detach() for name, value in pictures._asdict().items()}
    return values, {name: one for name, one in zip(inputs, gradients, strict=True) if one is not None}


@pytest.mark.parametrize(("size", "degree"), [(0.04, 0), (0.15, 3), (0.5, 1)])
def test_pictures_and_gradients_are_those_of_the_twin_in_64_bits(size, degree):
    """To 1e-5 of each tensor's largest number, which is what 32 bits leave of sums over thousands of pixels."""
    scene = some_gaussians(300, degree, size), some_motion(300, MOMENTS)
    values, gradients = drawn(single(some_gaussians(300, degree, size)), single(some_motion(300, MOMENTS)))
    expected_values, expected_gradients = drawn(*scene)
    assert_alike(values, expected_values, 1e-5)
    assert_alike(gradients, expected_gradients, 2e-5)


@pytest.mark.parametrize("part", ["rest", "drift", "skinning"])
def test_motion_may_lack_any_of_its_parts(part):
    def motion() -> Motion:
        whole = some_motion(50, MOMENTS)
        return replace(whole, **{name: None for name in ("drift", "skinning") if name != part})

    values, gradients = drawn(single(some_gaussians(50)), single(motion()))
    expected_values, expected_gradients = drawn(some_gaussians(50), motion())
    # Without drift the times are nobody's but the poses'; the kernel says so with zeros.
    assert part == "drift" or not gradients.pop("times").any()
    assert gradients.keys() == expected_gradients.keys()
    assert_alike(values, expected_values, 1e-5)
    assert_alike(gradients, expected_gradients, 2e-5)


def test_derivatives_by_time_are_those_of_the_twin():
    _, rates = rasterise_rates(single(some_gaussians(200)), VIEWS, single(some_motion(200, MOMENTS)))
    _, expected = rasterise_rates(some_gaussians(200), VIEWS, some_motion(200, MOMENTS))
    assert_alike({"rates": rates}, {"rates": expected}, 1e-5)


def test_derivatives_by_time_agree_with_the_gradient_that_flows_through_the_poses():
    """Forward mode, pixel by pixel, against backward mode, summed: g . dI/dt = dL/dt + dL/dposes . dposes/dt."""
    gaussians, motion = single(some_gaussians(200)), single(some_motion(200, MOMENTS))
    poses, rates = motion.skinning.poses, motion.skinning.rates
    for tensor in (motion.times, poses.positions, poses.quaternions):
        tensor.requires_grad_()
    pictures = rasterise(gaussians, VIEWS, motion)
    weights = torch.randn(pictures.rgb.shape, generator=torch.Generator().manual_seed(3))
    by_time, by_place, by_turn = torch.autograd.grad(
        (weights * pictures.rgb).sum(), [motion.times, poses.positions, poses.quaternions]
    )
    backward = by_time + (by_place * rates.positions).sum((1, 2)) + (by_turn * rates.quaternions).sum((1, 2))
    values, slopes = rasterise_rates(gaussians, VIEWS, motion)
    torch.testing.assert_close(values.rgb, pictures.rgb, rtol=0, atol=1e-6)
    parts = (weights * slopes[:, :3]).split([len(one) for one in VIEWS])
    forward = torch.stack([part.double().sum() for part in parts])
    torch.testing.assert_close(forward, backward.double(), rtol=2e-4, atol=0)


def test_influence_is_that_of_the_twin():
    errors = torch.rand(sum(len(one) for one in VIEWS), generator=torch.Generator().manual_seed(4))
    found = influence(single(some_gaussians(200)), VIEWS, single(some_motion(200, MOMENTS)), errors)
    expected = influence(some_gaussians(200), VIEWS, some_motion(200, MOMENTS), errors.double())
    assert_alike(found._asdict(), expected._asdict(), 1e-5)


def test_threads_do_not_change_a_bit():
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            gaussians, motion = single(some_gaussians(400)), single(some_motion(400, MOMENTS))
            values, gradients = drawn(gaussians, motion)
            _, rates = rasterise_rates(gaussians, VIEWS, motion)
            results.append([*values.values(), *gradients.values(), rates])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


def test_views_together_are_views_alone_and_crops_are_parts():
    gaussians, motion = single(some_gaussians(200)), single(some_motion(200, MOMENTS))
    together = rasterise(gaussians, VIEWS, motion)
    first = 0
    for index, one in enumerate(VIEWS):
        alone = rasterise(gaussians, [one], moment(motion, index))
        assert torch.equal(alone.rgb, together.rgb[first : first + len(one)])
        first += len(one)
    width, height = VIEWS[0].intrinsics.width, VIEWS[0].intrinsics.height
    picture = together.rgb[: len(VIEWS[0])].reshape(height, width, 3)
    crop = rasterise(gaussians, [VIEWS[0].cropped(13, 6, 21, 30)], moment(motion, 0)).rgb.reshape(30, 21, 3)
    torch.testing.assert_close(crop, picture[6:36, 13:34], rtol=0, atol=1e-5)
    bands = VIEWS[0].bands(10)
    assert [band.intrinsics.height for band in bands] == [10, 10, 10, 10, 3]
    strips = torch.cat([rasterise(gaussians, [band], moment(motion, 0)).rgb for band in bands])
    torch.testing.assert_close(strips.reshape(height, width, 3), picture, rtol=0, atol=1e-5)


def moment(motion: Motion, index: int) -> Motion:
    """One moment of a motion."""
    chosen = slice(index, index + 1)
    poses = type(motion.skinning.poses)(*(value[chosen] for value in vars(motion.skinning.poses).values()))
    return replace(motion, times=motion.times[chosen], skinning=replace(motion.skinning, poses=poses))


def test_gaussians_that_reach_across_the_plane_of_a_camera_are_seen_as_by_rays():
    still = Motion(torch.zeros(1, dtype=torch.float64))
    values, gradients = drawn(single(near_the_camera()), still, [view(37, 29)])
    expected_values, expected_gradients = drawn(near_the_camera(), still, [view(37, 29)])
    assert_alike(values, expected_values, 1e-4)
    assert_alike(gradients, expected_gradients, 1e-4)
    gaussians = near_the_camera()
    turns = rotation_matrices(torch.nn.functional.normalize(gaussians.quaternions, dim=-1))
    across = (turns[:, 2] * torch.exp(gaussians.log_scales)).norm(dim=-1)
    reach = torch.sqrt(2 * torch.log(255 * torch.sigmoid(gaussians.opacity_logits)).clamp_min(0.0))
    assert ((gaussians.means[:, 2] - 4.0).abs() < reach * across).sum() > 20


def only(gaussians: Gaussians, chosen: torch.Tensor) -> Gaussians:
    return Gaussians(*(value.detach()[chosen] for value in vars(gaussians).values()))


def spoiled(name: str, value: float, column: int | None = None) -> Gaussians:
    """Some Gaussians, every third of which has a number (or a row of numbers) that is no good."""
    gaussians = single(some_gaussians(30))
    changed = getattr(gaussians, name).clone()
    if column is None:
        changed[::3] = value
    else:
        changed[::3, column] = value
    return replace(gaussians, **{name: changed})


@pytest.mark.parametrize(
    ("name", "value", "column"),
    [
        ("means", float("nan"), 0), ("means", float("inf"), 1), ("quaternions", float("nan"), 3),
        ("quaternions", 0.0, None),
        ("log_scales", float("nan"), 2), ("log_scales", 300.0, None), ("log_scales", -300.0, None),
        ("opacity_logits", float("nan"), None), ("opacity_logits", -80.0, None), ("harmonics", float("nan"), 0),
        ("means", 9.0, 2),
    ],
)  # fmt: skip
def test_gaussians_with_unsound_numbers_and_those_that_cannot_be_seen_are_as_if_they_were_not_there(
    name, value, column
):
    """Behind the camera, everywhere at once, thinner than anything, without opacity, not numbers: the others stand."""
    still = Motion(torch.zeros(1, dtype=torch.float64))
    good = torch.arange(30) % 3 != 0
    gaussians = spoiled(name, value, column)
    values, gradients = drawn(gaussians, still, VIEWS[:1])
    alone, expected = drawn(only(gaussians, good), still, VIEWS[:1])
    for key, picture in alone.items():
        assert torch.equal(values[key], picture), key
    for key, gradient in expected.items():
        if key != "times":
            assert torch.equal(gradients[key][good], gradient), key
            assert not gradients[key][~good].any(), key
    plain = reference.pictures(gaussians, VIEWS[:1], still).detach()
    torch.testing.assert_close(values["rgb"], plain[:, :3], rtol=0, atol=1e-4)


def test_there_may_be_no_gaussians_and_no_views():
    nothing, still = single(some_gaussians(0)), Motion(torch.zeros(1, dtype=torch.float64))
    pictures = rasterise(nothing, VIEWS[:1], still)
    assert all(value.shape[0] == len(VIEWS[0]) and not value.any() for value in pictures)
    none = rasterise(single(some_gaussians(3)), [], Motion(torch.zeros(0, dtype=torch.float64)))
    assert none.rgb.shape == (0, 3)
    values, rates = rasterise_rates(nothing, VIEWS[:1], still)
    assert not values.rgb.any()
    assert not rates.any()


def test_no_pixel_of_a_gaussian_is_left_out_of_its_box():
    """One Gaussian at a time, thin, long and askew ones among them: opacity just where the plain twin has it."""
    gaussians = single(some_gaussians(60, size=0.1, seed=5))
    gaussians = replace(gaussians, log_scales=2.0 * gaussians.log_scales + 2.3)
    motion, checked = Motion(torch.zeros(1, dtype=torch.float64)), 0
    for index in range(60):
        one = only(gaussians, torch.tensor([index]))
        found = rasterise(one, VIEWS[:1], motion).accumulation
        expected = reference.pictures(one, VIEWS[:1], motion)[:, 3]
        torch.testing.assert_close(found, expected, rtol=0, atol=5e-5)
        checked += bool(expected.any())
    assert checked > 30


def test_a_gaussian_beside_the_camera_is_in_all_tiles_that_it_touches():
    """One at a time, where it reaches across the camera's plane: its box is then made of tiles."""
    gaussians = single(near_the_camera(60))
    gaussians = replace(gaussians, log_scales=gaussians.log_scales - 1.2, opacity_logits=torch.full((60,), 4.0))
    motion, wide, shares = Motion(torch.zeros(1, dtype=torch.float64)), [view(100, 70)], []
    for index in range(60):
        one = only(gaussians, torch.tensor([index]))
        found = rasterise(one, wide, motion).accumulation
        expected = reference.pictures(one, wide, motion)[:, 3]
        torch.testing.assert_close(found, expected, rtol=0, atol=5e-5)
        shares.append(float((expected > 0).float().mean()))
    assert sum(0.05 < share < 0.95 for share in shares) > 4


def test_without_the_kernel_the_twin_draws(monkeypatch):
    with_kernel = rasterise(single(some_gaussians(50)), VIEWS, single(some_motion(50, MOMENTS)))
    monkeypatch.setenv("SYNCNERF_NATIVE", "0")
    kernel.library.cache_clear()
    try:
        assert kernel.library() is None
        plain = rasterise(single(some_gaussians(50)), VIEWS, single(some_motion(50, MOMENTS)))
    finally:
        monkeypatch.undo()
        kernel.library.cache_clear()
    assert not torch.equal(plain.rgb, with_kernel.rgb)
    torch.testing.assert_close(plain.rgb, with_kernel.rgb, rtol=0, atol=1e-4)
