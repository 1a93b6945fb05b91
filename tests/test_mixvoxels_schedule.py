"""MixVoxels' schedule: who waits, when grids are refined and shrunk, and when empty space is looked for."""

import torch
from mixvoxels_fields import make, moments

from syncnerf.questions import RayQuestion
from syncnerf.testing.samples import some_rays
from syncnerf_mixvoxels.time_query import look_moments


def test_while_the_variation_field_learns_the_dynamic_one_waits():
    backend = make({"variation_steps": 3})
    backend.before_step(2)
    assert backend(RayQuestion(some_rays(), moments())).extras["dynamic_samples"] == 0
    backend.before_step(3)
    assert backend(RayQuestion(some_rays(), moments())).extras["dynamic_samples"] > 0


def test_the_schedule_refines_and_shrinks_when_it_says(monkeypatch):
    backend = make()
    remade = []
    for step in range(10):
        backend.before_step(step)
        before = backend.static_field.density_grid.lines[0]
        if backend.after_step(step):
            remade.append(step)
            assert backend.static_field.density_grid.lines[0] is not before
        if step == 5:
            # As if the mask had left one corner; the looks at steps 6 and 8 see the same.
            backend.mask.occupied[:] = False
            backend.mask.occupied[:, :4, :4, :2] = True
            backend.mask._fit_box()
            monkeypatch.setattr(backend.mask, "update", lambda *_: None)
    assert remade == [4, 6, 8]
    assert [backend.config.grids.resolution(step) for step in (0, 4, 8)] == [10, 14, 20]
    torch.testing.assert_close(backend.box, torch.tensor([[-1.0, -1.0, -1.0], [0.0, 0.0, -0.5]]))
    # Equal sides, and about as many cells as a cube of 20 has; the lines' order is z y x.
    assert [len(line) for line in backend.static_field.density_grid.lines] == [13, 25, 25]


def test_the_box_that_shrinks_leaves_what_is_in_it_as_it_was():
    backend = make({"upsample_steps": "0", "final_resolution": 10})
    rays = some_rays()
    backend.mask.occupied[:] = False
    backend.mask.occupied[:, 2:6, 2:6, 2:6] = True
    backend.mask._fit_box()
    inside = 0.4 * (2 * torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) - 1)
    with torch.no_grad():
        before = backend.static_field.density(backend._in_box(inside))
        backend._shrink(40)
        after = backend.static_field.density(backend._in_box(inside))
        rendering = backend(RayQuestion(rays, moments()))
    # Finer cells of other places sample the same function; products of linear pieces differ a little between them.
    assert (after - before).abs().mean() < 0.05 * before.std()
    assert torch.isfinite(rendering.rgb).all()


def test_looks_for_empty_space_miss_no_moment_for_long():
    """Over a few dozen looks every hundredth of the clock is looked at; each look sees each sixteenth once."""
    seen = torch.zeros(100, dtype=torch.bool)
    for step in range(40):
        moments = look_moments(16, torch.Generator().manual_seed(step))
        assert torch.equal((moments * 16).long(), torch.arange(16))
        seen[(moments * 100).long()] = True
    assert seen.all()


def test_what_is_there_for_a_moment_only_is_found_though_it_was_culled():
    backend = make()
    spike = torch.tensor([0.53], dtype=torch.float64)
    whole = backend.mask.possible.sum()

    def look(step: int, present: bool) -> int:
        def density(points, moments):
            there = present and bool(((moments - spike).abs() < 0.015).any())
            return torch.full((len(points),), 1e3 if there else 0.0)

        backend._largest_density = density
        backend._look(step)
        return int(backend.mask.occupied.sum())

    backend.mask.occupied[:] = False
    assert look(1, present=False) == 0
    counts = [look(step, present=True) for step in range(2, 40)]
    assert counts[-1] == whole
