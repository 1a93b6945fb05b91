"""The contract's suite: what every backend must do, as a class of tests that a plugin's author inherits.

    from syncnerf.testing.contract import BackendContract
    from my_plugin.spec import SPEC

    class TestMyBackend(BackendContract):
        spec = SPEC
        options = {"layers": 2}

Run by pytest. Everything happens on the CPU, in a scene of a few dozen pixels.
"""

from __future__ import annotations

import inspect
import io
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from syncnerf.backend import Backend, BackendSpec, Execution
from syncnerf.option import configured, options_of
from syncnerf.pixels import render_pixels
from syncnerf.questions import SHOWN, SLOPES, Question, ViewQuestion
from syncnerf.testing.samples import (
    HEIGHT,
    STEPS,
    VIEWS,
    WIDTH,
    about_rays,
    about_views,
    scene_geometry,
    some_batch,
    training_question,
)

METHODS = (
    "render_rays", "render_views", "render_slopes", "losses", "penalties", "param_groups", "before_step", "step_kind",
    "after_backward", "after_step",
)  # fmt: skip
UNSEEN = 1e-3
"""A quarter of a grey level: what may be left out as next to nothing may be decided for all that is asked together."""


def every_choice(spec: BackendSpec, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Every combination of the choices of some options, as far as the backend has them; at least the empty one."""
    items = [item for item in options_of(spec.config) if item.name in names and item.metadata["choices"]]
    values = itertools.product(*(item.metadata["choices"] for item in items))
    return [dict(zip((item.name for item in items), choice, strict=True)) for choice in values]


class BackendContract:
    """Tests of a backend.

    Attributes:
        spec: the backend's.
        options: values of its options by name, sizes at which a step takes milliseconds; names it does not know are
            left out.
        variants: further options, for each of which all tests run.
        tolerance: by how much colours may differ where the same pixels are asked for in other company.
        stirred: standard deviation of what is added to every parameter at the start, so that nothing is flat.
        silent: parameters that need not get a gradient from a first batch, by the beginnings of their names.
    """

    spec: ClassVar[BackendSpec]
    options: ClassVar[Mapping[str, Any]] = {}
    variants: ClassVar[list[dict[str, Any]]] = [{}]
    tolerance: ClassVar[float] = 2e-5
    stirred: ClassVar[float] = 0.2
    silent: ClassVar[tuple[str, ...]] = ()

    def pytest_generate_tests(self, metafunc) -> None:
        """Run every test for every variant."""
        if "make" in metafunc.fixturenames:
            ids = ["-".join(map(str, variant.values())) or "plain" for variant in self.variants]
            metafunc.parametrize("make", self.variants, indirect=True, ids=ids)

    @pytest.fixture
    def make(self, request) -> Callable[..., Backend]:
        """Builds the backend anew at every call, its parameters stirred."""

        def build(seed: int = 0, **execution) -> Backend:
            torch.manual_seed(seed)
            config = configured(self.spec.config, {**self.options, **request.param})
            backend = self.spec.build(config, scene_geometry(), Execution(**execution))
            with torch.no_grad():
                for parameter in backend.parameters():
                    parameter.add_(self.stirred * torch.randn_like(parameter))
            backend.before_step(0)
            return backend

        return build

    def _asked(self, backend: Backend) -> list[Question]:
        """Every kind of question that the backend may be asked."""
        return [about_views()] if backend.renders_views else [about_rays(self.spec), about_views()]

    # -- answers -------------------------------------------------------------------------------------------------

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
        for question in self._asked(backend):
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
            for question in self._asked(backend):
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
            torch.testing.assert_close(
                part, picture[top : top + 4, left : left + 5], atol=self.tolerance, rtol=0
            )

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
            for question in self._asked(backend):
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

    # -- derivatives ---------------------------------------------------------------------------------------------

    def test_slopes_are_the_derivative_by_time(self, make):
        """They are what a backward pass through the times gives, and what two renderings say."""
        backend = make().eval()
        for question in self._asked(backend):
            upstream = torch.rand(
                backend(question).rgb.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64
            )
            answer = backend(replace(question, wanted=SLOPES))
            assert answer.slopes.shape == answer.rgb.shape
            assert not answer.slopes.requires_grad
            times = question.times.clone().requires_grad_()
            (backend(replace(question, times=times)).rgb.double() * upstream).sum().backward()
            pixels = (upstream * answer.slopes.double()).sum(dim=-1)
            found = pixels.flatten(1).sum(dim=1) if isinstance(question, ViewQuestion) else pixels
            scale = times.grad.abs().max()
            assert scale > 0
            torch.testing.assert_close(found, times.grad, atol=1e-3 * float(scale), rtol=0)
            self._compare_with_differences(backend, question, answer.slopes)

    def _compare_with_differences(self, backend: Backend, question: Question, slopes: Tensor) -> None:
        """A pixel in two may lie at a kink (a ray's samples move to others); most do not."""
        step = 2e-3 / max(float(slopes.abs().max()), 1.0)
        with torch.no_grad():
            ahead, behind = (backend(replace(question, times=question.times + sign * step)).rgb for sign in (1, -1))
        differences = ((ahead.double() - behind) / (2 * step)).flatten()
        errors = (differences - slopes.double().flatten()).abs()
        moving = slopes.flatten().abs() > 0.1 * slopes.abs().max()
        assert errors[moving].median() < 0.2 * differences[moving].abs().median()

    def test_gradients_reach_the_times_and_every_parameter(self, make):
        """From the losses and penalties of a batch, all finite."""
        backend, batch, question = make(), some_batch(self.spec), training_question(self.spec)
        times = question.times.clone().requires_grad_()
        moved = {"times": times}
        if isinstance(question, ViewQuestion):
            moved["readouts"] = question.readouts.clone().requires_grad_()
        answer = backend(replace(question, **moved), torch.Generator().manual_seed(0))
        losses, penalties = backend.losses(answer, batch, 0), backend.penalties(0)
        assert "photometric" in losses
        assert not losses.keys() & penalties.keys()
        losses |= penalties
        assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
        sum(losses.values()).backward()
        backend.after_backward(answer, batch, 0)
        for name, value in moved.items():
            assert value.grad.dtype == torch.float64
            assert (value.grad != 0).float().mean() > 0.5, name
        named = [(name, p) for name, p in backend.named_parameters() if not name.startswith(self.silent or ("\0",))]
        assert [name for name, p in named if p.grad is None or not (p.grad != 0).any()] == []
        assert all(torch.isfinite(p.grad).all() for _, p in named)

    # -- training ------------------------------------------------------------------------------------------------

    def test_losses_do_not_know_the_camera(self, make):
        """The same pixels cost the same, whoever recorded them."""
        backend, batch = make(), some_batch(self.spec)
        answer = backend(training_question(self.spec))
        first = backend.losses(answer, batch, 0)
        batch.cameras = batch.cameras + 5
        second = backend.losses(answer, batch, 0)
        assert {name: value.item() for name, value in second.items()} == {k: v.item() for k, v in first.items()}

    def test_parameter_groups_name_each_parameter_once(self, make):
        """And their learning rates grow with the training's; a schedule of their own is a function of the step."""
        backend = make()
        groups = backend.param_groups(0.25)
        names = [group["name"] for group in groups]
        assert len(set(names)) == len(names)
        assert all(group["lr"] > 0 for group in groups)
        listed = [id(parameter) for group in groups for parameter in group["params"]]
        assert len(set(listed)) == len(listed)
        assert set(listed) == {id(parameter) for parameter in backend.parameters()}
        doubled = backend.param_groups(0.5)
        assert [group["lr"] for group in doubled] == [2 * group["lr"] for group in groups]
        for group in groups:
            if "schedule" in group:
                shares = [group["schedule"](step) for step in (0, STEPS - 1, 0)]
                assert shares[0] == shares[2]
                assert min(shares) >= 0

    def test_what_a_step_replaces_is_said(self, make):
        """Every parameter is the one that it was, or named as what took its place; rows are rows that there were."""
        backend = make()
        for step in range(12):
            before = {id(parameter): parameter for parameter in backend.parameters()}
            sizes = {key: len(value) for key, value in before.items() if value.ndim}
            self._train(backend, range(step, step + 1))
            for item in backend.after_step(step):
                if item.rows is not None:
                    assert item.rows.dtype == torch.int64
                    assert item.rows.shape == item.new.shape[:1]
                    assert ((item.rows >= -1) & (item.rows < sizes[id(item.old)])).all()
                del before[id(item.old)]
                before[id(item.new)] = item.new
            assert before.keys() == {id(parameter) for parameter in backend.parameters()}

    def _train(self, backend: Backend, steps: range) -> None:
        """Adam's first steps; what is to be done after each step is left to the caller."""
        batch, question = some_batch(self.spec), training_question(self.spec)
        groups = [{key: group[key] for key in ("params", "lr")} for group in backend.param_groups(1e-2)]
        optimizer = torch.optim.Adam(groups)
        for step in steps:
            backend.before_step(step)
            answer = backend(question, torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            sum((backend.losses(answer, batch, step) | backend.penalties(step)).values()).backward()
            backend.after_backward(answer, batch, step)
            optimizer.step()

    def test_state_moves_to_another_instance(self, make):
        """Everything that training changed travels in the checkpoint; what follows is the same bit for bit."""
        backend, question = make(0), training_question(self.spec)
        for step in range(6):
            self._train(backend, range(step, step + 1))
            backend.after_step(step)
        file = io.BytesIO()
        torch.save(backend.state_dict(), file)
        file.seek(0)
        other = make(1)
        other.load_state_dict(torch.load(file, weights_only=True))
        other.before_step(5)
        with torch.no_grad():
            assert torch.equal(backend(question).rgb, other(question).rgb)
        for some in (backend, other):
            for step in range(6, 9):
                self._train(some, range(step, step + 1))
                some.after_step(step)
        for name, value in backend.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name

    def test_schedules_are_functions_of_the_step_alone(self, make):
        """Whatever steps came before."""
        straight, wandering = make(0), make(0)
        batch, question = some_batch(self.spec), training_question(self.spec)
        for step in (90, 3, 55):
            wandering.before_step(step)
        for step in (0, 10, 40, STEPS - 1):
            straight.before_step(step)
            wandering.before_step((step * 7) % STEPS)
            wandering.before_step(step)
            results = []
            for backend in (straight, wandering):
                answer = backend(question)
                losses = backend.losses(answer, batch, step) | backend.penalties(step)
                results.append((answer.rgb, {name: value.item() for name, value in losses.items()}))
            assert torch.equal(results[0][0], results[1][0])
            assert results[0][1] == results[1][1]
        for step in (4, 8):
            for backend in (straight, wandering):
                self._train(backend, range(step, step + 1))
            assert len(straight.after_step(step)) == len(wandering.after_step(step))
            for name, value in straight.state_dict().items():
                assert torch.equal(value, wandering.state_dict()[name]), name

    def test_kinds_of_steps_are_for_training_in_fixed_shapes(self, make):
        """None means: not to be recorded. A backend may say so always."""
        assert make().step_kind(3) is None
        backend = make(fixed_shapes=True)
        backend.before_step(3)
        assert hash(backend.step_kind(3)) == hash(backend.step_kind(3))
        assert backend.eval().step_kind(3) is None
