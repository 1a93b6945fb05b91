"""No unit, no origin: the same scene in other units and elsewhere gives the same pictures and gradients."""

from dataclasses import replace

import pytest
import torch
from small_fields import SMALL, VARIANTS

from syncnerf.installed import discover_backends
from syncnerf.option import configured, options_of
from syncnerf.questions import RayQuestion
from syncnerf.rendering.space import FieldSpace
from syncnerf.rendering.starting import CLEAR_DEPTH, HULL_DEPTH, near_factors, near_radius, scale_gradient
from syncnerf.rendering.starting import starting_density as density_of
from syncnerf.scene.rays import Rays
from syncnerf.testing.contract import every_choice
from syncnerf.testing.samples import scene_geometry, some_batch, some_rays, some_times

OF_RAYS = sorted(name for name, spec in discover_backends().items() if spec.trains_on != "views")
KINDS = {
    "white": {},
    "contracted": {"background": None, "contraction": True},
    "open": {"background": None},
    "hull": {"occupied": torch.rand(8, 8, 8, generator=torch.Generator().manual_seed(4)) > 0.4},
}


def elsewhere(rays: Rays, scale: float, shift: torch.Tensor) -> Rays:
    return Rays(scale * rays.origins.double() + shift, rays.directions, scale * rays.near, scale * rays.far)


def trained(spec, kind: dict, scale: float, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict]:
    """Colours and depths of two Adam steps' field, and the last gradients."""
    config = configured(spec.config, SMALL)
    plain = scene_geometry(**kind)
    geometry = replace(
        plain, bounds=(scale * plain.bounds.double() + shift), near=scale * plain.near, far=scale * plain.far
    )
    torch.manual_seed(0)
    backend = spec.build(config, geometry)
    with torch.no_grad():
        for parameter in backend.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    batch = some_batch(spec)
    batch.rays = elsewhere(batch.rays, scale, shift)
    optimizer = torch.optim.Adam(backend.param_groups(1e-2))
    for step in range(3):
        backend.before_step(step)
        rendering = backend(RayQuestion(batch.rays, batch.frame_times), torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        sum(backend.losses(rendering, batch, step).values()).backward()
        if step < 2:
            optimizer.step()
            backend.after_step(step + 1)
    gradients = {name: p.grad for name, p in backend.named_parameters() if p.grad is not None}
    with torch.no_grad():
        seen = backend(RayQuestion(elsewhere(some_rays(), scale, shift), some_times(spec)))
    return seen.rgb, seen.depth / scale, gradients


@pytest.mark.parametrize("name", OF_RAYS)
@pytest.mark.parametrize(
    ("kind", "scale", "shift"),
    [("white", 1e3, 0.0), ("contracted", 1e-3, 0.0), ("open", 8.0, 4e6), ("hull", 1e-3, 2.0)],
)
def test_scale_and_place_change_neither_pictures_nor_gradients(name, kind, scale, shift):
    spec = discover_backends()[name]
    there = shift * torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64)
    rgb, depth, gradients = trained(spec, KINDS[kind], 1.0, torch.zeros(3, dtype=torch.float64))
    other_rgb, other_depth, other_gradients = trained(spec, KINDS[kind], scale, there)
    torch.testing.assert_close(other_rgb, rgb, rtol=0, atol=2e-4)
    torch.testing.assert_close(other_depth, depth, rtol=0, atol=2e-3)
    assert gradients.keys() == other_gradients.keys()
    for key, value in gradients.items():
        assert (other_gradients[key] - value).norm() <= 0.01 * value.norm() + 1e-9, key


@pytest.mark.parametrize("kind", ["white", "contracted", "hull"])
def test_a_field_that_knows_nothing_has_the_stated_optical_depth(kind):
    """The opacity of rays straight through the box, of untrained fields of each backend."""
    geometry = scene_geometry(**{**KINDS[kind], "near": 0.5, "far": 8.5, "occupied": None})
    if kind == "hull":
        geometry = replace(geometry, occupied=torch.ones(4, 4, 4, dtype=torch.bool))
    space = FieldSpace(geometry)
    expected = (HULL_DEPTH if kind == "hull" else CLEAR_DEPTH) / space.reach
    assert density_of(geometry, space) == pytest.approx(expected)
    assert density_of(geometry, space, 3.0) == pytest.approx(3.0 / space.reach)
    for name in OF_RAYS:
        spec = discover_backends()[name]
        torch.manual_seed(0)
        backend = spec.build(configured(spec.config, SMALL | {"initial_depth": 0.0}), geometry)
        lines = torch.tensor([[-4.5, 0.1, 0.2], [-4.5, -0.7, 0.4]])
        rays = Rays(lines, torch.tensor([[1.0, 0.0, 0.0]]).expand(2, 3), torch.full((2,), 0.5), torch.full((2,), 8.5))
        opacity = backend(RayQuestion(rays, torch.full((2,), 0.5, dtype=torch.float64))).accumulation
        depth = HULL_DEPTH if kind == "hull" else CLEAR_DEPTH
        low, high = -torch.expm1(torch.tensor([-0.7 * depth, -1.5 * depth]))
        assert low <= opacity.min() <= opacity.max() <= high + 1e-6, name


def test_gradients_near_a_camera_shrink_with_the_square_of_the_distance():
    distances = torch.tensor([0.0, 0.15, 0.3, 0.6, 4.0])
    factors = near_factors(distances, 0.6)
    torch.testing.assert_close(factors, torch.tensor([0.0, 0.0625, 0.25, 1.0, 1.0]))
    values = torch.arange(10.0).reshape(5, 2).requires_grad_()
    scaled = scale_gradient(values, factors)
    assert torch.equal(scaled, values)
    scaled.square().sum().backward()
    torch.testing.assert_close(values.grad, 2 * values.detach() * factors[:, None])
    assert near_factors(distances, 0.0) is None
    assert scale_gradient(values, None) is values


def test_gradients_are_scaled_where_the_background_is_unknown():
    assert near_radius(scene_geometry()) == 0.0
    assert near_radius(scene_geometry(background=None)) == 0.6
    assert near_radius(scene_geometry(background=None), 0.0) == 0.0
    assert near_radius(scene_geometry(), 0.3) == 0.3


def lensed() -> list:
    """Every backend that scales gradients before lenses, in every variant."""
    specs = [spec for _, spec in sorted(discover_backends().items())]
    knows = [spec for spec in specs if any(item.name == "gradient_radius" for item in options_of(spec.config))]
    return [pytest.param((spec.name, choice)) for spec in knows for choice in every_choice(spec, VARIANTS)]


@pytest.mark.parametrize("case", lensed())
def test_no_gradient_comes_from_just_before_a_lens(case):
    """A box that begins at the cameras: without the scaling their surroundings learn, with it hardly."""
    name, choice = case
    spec = discover_backends()[name]
    slopes = []
    for share in (0.0, 100.0):
        torch.manual_seed(0)
        geometry = scene_geometry(background=None, near=1e-3, far=1.0)
        backend = spec.build(configured(spec.config, SMALL | choice | {"gradient_radius": share}), geometry)
        batch = some_batch(spec)
        batch.rays = replace(batch.rays, origins=0.1 * batch.rays.origins, near=0.001 + 0 * batch.rays.near)
        batch.rays.far = torch.ones_like(batch.rays.near)
        loss = backend.losses(backend(RayQuestion(batch.rays, batch.frame_times)), batch, 0)["photometric"]
        loss.backward()
        slopes.append(
            sum(
                p.grad.square().sum()
                for k, p in backend.named_parameters()
                if "features" in k or "density" in k
                if p.grad is not None
            )
        )
    assert slopes[1] < 1e-4 * slopes[0]
