"""The contract's tests of derivatives: by time, and by every parameter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from syncnerf.backend import Backend
from syncnerf.questions import SLOPES, Question, ViewQuestion
from syncnerf.testing.samples import some_batch, training_question
from syncnerf.testing.setting import ContractTests


class DerivativeTests(ContractTests):
    """What moves a backend's answers."""

    def test_slopes_are_the_derivative_by_time(self, make):
        """They are what a backward pass through the times gives, and what two renderings say."""
        backend = make().eval()
        for question in self.asked(backend):
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

    def test_half_precision_is_for_networks_alone(self, make):
        """Under autocast answers are single and nearly the same, and gradients still reach the times."""
        if not self.spec.has_networks:
            pytest.skip("the core asks nothing of it under autocast")
        backend, batch, question = make(), some_batch(self.spec), training_question(self.spec)
        answers, gradients = [], []
        for half in (False, True):
            times = question.times.clone().requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                answer = backend(replace(question, times=times), torch.Generator().manual_seed(0))
                losses = backend.losses(answer, batch, 0)
            sum(losses.values()).backward()
            answers.append(answer.rgb.detach())
            gradients.append(times.grad)
        assert answers[1].dtype == torch.float32
        # Three digits of each number in the networks.
        torch.testing.assert_close(answers[1], answers[0], atol=0.02, rtol=0)
        torch.testing.assert_close(gradients[1], gradients[0], atol=0.3 * float(gradients[0].abs().max()), rtol=0)

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
