"""The contract's tests of answers: their shapes, and that they depend on nothing but the question."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
import torch

from syncnerf.backend import Backend
from syncnerf.pixels import render_pixels
from syncnerf.questions import SHOWN, ViewQuestion
from syncnerf.testing.samples import HEIGHT, VIEWS, WIDTH, about_views, training_question
from syncnerf.testing.setting import ContractTests

METHODS = (
    "render_rays", "render_views", "render_slopes", "losses", "penalties", "param_groups", "before_step", "step_kind",
    "after_backward", "after_step",
)  # fmt: skip
UNSEEN = 1e-3
"""A quarter of a grey level: what may be left out as next to nothing may be decided for all that is asked together."""


class AnswerTests(ContractTests):
    """What a backend answers."""

    def test_signatures_are_the_contracts_and_know_no_camera(self, make):
        """The methods take what the core gives them."""
        backend = make()
        assert isinstance(backend, Backend)
        for method in METHODS:
            expected = inspect.signature(getattr(Backend, method)).parameters
            assert list(inspect.signature(getattr(type(backend), method)).parameters) == list(expected), method
        names = {p for m in vars(type(backend)).values() if callable(m) for p in inspect.signature(m).parameters}
        assert not any("camera" in name for name in names), "a backend never sees a camera"

    @pytest.mark.parametrize("jittered", [False, True])
    def test_shapes_types_and_ranges_of_an_answer(self, make, jittered):
        """Of every kind of question, in training mode."""
        backend = make()
        for question in self.asked(backend):
            generator = torch.Generator().manual_seed(0) if jittered else None
            answer = backend(replace(question, wanted=SHOWN), generator)
            views = isinstance(question, ViewQuestion)
            pixels = (VIEWS, HEIGHT, WIDTH) if views else question.times.shape
            assert answer.rgb.shape == (*pixels, 3)
            assert answer.depth.shape == answer.accumulation.shape == pixels
            for value in (answer.rgb, answer.depth, answer.accumulation):
                assert value.dtype == torch.float32
                assert torch.isfinite(value).all()
            assert -1e-5 <= answer.rgb.min() <= answer.rgb.max() <= 1 + 1e-5
            assert -1e-5 <= answer.accumulation.min() <= answer.accumulation.max() <= 1 + 1e-5
            solid = answer.depth[answer.accumulation > 0.5]
            assert ((solid > 1.9) & (solid < 6.1)).all()
            assert answer.rgb.std() > 1e-3
            single = replace(question, times=question.times.reshape(len(question), -1)[:, 0])
            assert backend(single).rgb.shape == (*pixels[: 3 if views else 1], 3)

    def test_answers_are_deterministic_and_independent_of_their_company(self, make):
        """Some of the rays or views alone, and parts of views, are what they are among others."""
        backend = make().eval()
        with torch.no_grad():
            for question in self.asked(backend):
                wanted = replace(question, wanted=SHOWN)
                first, again = backend(wanted), backend(wanted)
                assert torch.equal(first.rgb, again.rgb)
                assert torch.equal(first.depth, again.depth)
                torch.testing.assert_close(backend(question[1:3]).rgb, first.rgb[1:3], atol=self.tolerance, rtol=0)
            question = about_views()
            corners = torch.tensor([[2, 1], [4, 0], [0, 3]])
            parts = backend(replace(question, views=question.views.cropped(corners, 5, 4))).rgb
            whole = backend(question).rgb
        for part, picture, (left, top) in zip(parts, whole, corners.tolist(), strict=True):
            torch.testing.assert_close(part, picture[top : top + 4, left : left + 5], atol=self.tolerance, rtol=0)

    def test_portions_do_not_show(self, make):
        """Views are the same however few rays are rendered at once."""
        whole, portions = make().eval(), make(rays_at_once=17).eval()
        with torch.no_grad():
            expected = whole(about_views(SHOWN))
            found = portions(about_views(SHOWN))
        for name in ("rgb", "depth", "accumulation"):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=UNSEEN, rtol=0)

    def test_rows_are_rendered_at_their_own_times(self, make):
        """A row of a rolling shutter's view is that row of a view which was taken at once, at the row's time."""
        backend, question = make().eval(), about_views()
        with torch.no_grad():
            rolling = backend(question).rgb
            for row in (0, HEIGHT // 2, HEIGHT - 1):
                at_once = replace(
                    question, times=question.row_times()[:, row], readouts=torch.zeros_like(question.readouts)
                )
                shown = backend(at_once).rgb[:, row]
                torch.testing.assert_close(rolling[:, row], shown, atol=self.tolerance, rtol=0)

    def test_pixels_are_those_of_the_views(self, make):
        """What a fit looks at, at one moment and at several candidates', is what the views show."""
        backend, question = make().eval(), about_views()
        places = torch.tensor([[0, 5, 17], [98, 40, 41], [12, 12, 50]])
        times = question.times[:, None] + torch.tensor([0.0, 0.05], dtype=torch.float64)
        with torch.no_grad():
            found = render_pixels(backend, replace(question, times=times), places).rgb
            for moment in range(2):
                picture = backend(replace(question, times=times[:, moment])).rgb.flatten(1, 2)
                expected = torch.take_along_dim(picture, places[..., None], dim=1)
                torch.testing.assert_close(found[:, :, moment], expected, atol=UNSEEN, rtol=0)

    def test_every_random_draw_comes_from_the_generator(self, make):
        """The global generators decide nothing."""
        backend, question = make(), training_question(self.spec)
        with torch.no_grad():
            torch.manual_seed(1)
            first = backend(question, torch.Generator().manual_seed(3)).rgb
            torch.manual_seed(2)
            again = backend(question, torch.Generator().manual_seed(3)).rgb
        assert torch.equal(first, again)

    def test_parts_are_there_where_they_are_wanted(self, make):
        """Where the field knows a static and a dynamic part, they are colours, given when asked for alone."""
        backend = make().eval()
        with torch.no_grad():
            for question in self.asked(backend):
                assert "dynamic_rgb" not in backend(question).extras
                answer = backend(replace(question, wanted=SHOWN))
                later = backend(replace(question, wanted=SHOWN, times=question.times + 0.2))
                movement = {}
                for name in {"static_rgb", "dynamic_rgb"} & answer.extras.keys():
                    part = answer.extras[name]
                    assert part.shape in (answer.rgb.shape, (*answer.rgb.shape[:-2], 3))
                    assert -1e-5 <= part.min() <= part.max() <= 1 + 1e-5
                    movement[name] = (later.extras[name] - part).abs().mean()
                # A static part may only move as far as other samples are chosen at another time.
                whole = (later.rgb - answer.rgb).abs().mean()
                assert movement.get("static_rgb", 0.0) < 0.5 * whole
                assert movement.get("dynamic_rgb", whole) > 0
