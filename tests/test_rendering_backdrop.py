"""What lies behind a scene: a known colour, or one that is learned by direction."""

import pytest
import torch
from small_fields import SMALL

from syncnerf.installed import find_backend
from syncnerf.option import configured
from syncnerf.questions import RayQuestion
from syncnerf.rendering.backdrop import Backdrop
from syncnerf.scene.rays import Rays
from syncnerf.scene.views import Views
from syncnerf.testing.samples import scene_geometry, some_views


def directions(count: int) -> torch.Tensor:
    draws = torch.randn(count, 3, generator=torch.Generator().manual_seed(count))
    return torch.nn.functional.normalize(draws, dim=-1)


def sky(toward: torch.Tensor) -> torch.Tensor:
    """Bluer and darker upwards, redder to one side."""
    x, _, z = toward.unbind(-1)
    return torch.stack([0.5 + 0.2 * x - 0.2 * z, 0.5 - 0.1 * z, 0.6 + 0.3 * z], dim=-1)


def test_a_known_colour_is_not_learned():
    backdrop = Backdrop((1.0, 0.5, 0.0))
    assert torch.equal(backdrop(directions(4)), torch.tensor([[1.0, 0.5, 0.0]]).expand(4, 3))
    assert not list(backdrop.parameters())
    assert not backdrop.param_groups(1e-2)


def test_an_unknown_sky_is_grey_at_first_and_learned_where_it_was_not_looked_at():
    backdrop = Backdrop(None)
    torch.testing.assert_close(backdrop(directions(4)), torch.full((4, 3), 0.5))
    seen, optimizer = directions(200), torch.optim.Adam(backdrop.param_groups(0.005))
    for _ in range(300):
        optimizer.zero_grad()
        (backdrop(seen) - sky(seen)).square().mean().backward()
        optimizer.step()
    elsewhere = directions(50)
    assert (backdrop(elsewhere) - sky(elsewhere)).abs().max() < 0.03


@pytest.mark.parametrize("name", ["kplanes", "mixvoxels"])
def test_rays_beside_the_box_show_the_backdrop_and_teach_it_alone(name):
    spec = find_backend(name)
    backend = spec.build(configured(spec.config, SMALL), scene_geometry(background=None))
    with torch.no_grad():
        backend.backdrop.coefficients.normal_(generator=torch.Generator().manual_seed(0))
    toward = directions(6)
    away = Rays(torch.full((6, 3), 9.0).double(), toward.abs(), torch.full((6,), 0.1), torch.full((6,), 8.0))
    rendering = backend(RayQuestion(away, torch.zeros(6, dtype=torch.float64)))
    torch.testing.assert_close(rendering.rgb, backend.backdrop(away.directions))
    assert rendering.accumulation.abs().max() == 0
    rendering.rgb.square().sum().backward()
    taught = {key for key, value in backend.named_parameters() if value.grad is not None and value.grad.abs().max() > 0}
    assert taught == {"backdrop.coefficients"}
    groups = [parameter for group in backend.param_groups(1e-2) for parameter in group["params"]]
    assert sum(parameter is backend.backdrop.coefficients for parameter in groups) == 1


@pytest.mark.parametrize("whole", [True, False])
def test_views_show_the_sky_that_their_rays_do(whole):
    poses = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    poses[:, :3, :3] = torch.linalg.qr(torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(2)).double())[0]
    table = torch.tensor([[23, 14, 12.0, 15.0, 9.0, 8.0], [23, 14, 30.0, 28.0, 11.5, 7.0]], dtype=torch.float64)
    views = Views(poses, table, torch.zeros(2, 2, dtype=torch.int64), 23, 14, 0.1, 9.0)
    if not whole:
        views = views.cropped(torch.tensor([[3, 2], [17, 9]]), 1, 5)
    backdrop = Backdrop(None)
    backdrop.coefficients.data.normal_(0.0, 2.0, generator=torch.Generator().manual_seed(0))
    weights = torch.randn(2, *views.size[::-1], 3, generator=torch.Generator().manual_seed(1))

    def gradient(shown: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad((weights * shown).sum(), backdrop.coefficients)[0]

    shown, by_rays = backdrop.of_views(views), backdrop(views.rays().directions).reshape(weights.shape)
    torch.testing.assert_close(shown, by_rays, rtol=0, atol=2e-6)
    torch.testing.assert_close(gradient(shown), gradient(by_rays), rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(backdrop.of_views(views), shown)


def test_views_show_a_known_colour():
    views = some_views()
    shown = Backdrop((1.0, 0.5, 0.0)).of_views(views)
    assert torch.equal(shown, torch.tensor([1.0, 0.5, 0.0]).expand(len(views), views.height, views.width, 3))
