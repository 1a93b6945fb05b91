"""Some pixels of some views, for fits that look at a few of each: what they show, and how that changes with time."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Int64
from torch import Tensor

from syncnerf.backend import Backend
from syncnerf.questions import Rendering, ViewQuestion
from syncnerf.through_rays import render_through_rays

SAME_TIME = 1e-9
"""Times of the field that differ by less are one."""


@torch.no_grad()
def render_pixels(backend: Backend, question: ViewQuestion, pixels: Int64[Tensor, "B K"]) -> Rendering:
    """Colours of pixels, deterministic and without a graph, and their slopes where they are wanted.

    A backend that answers rays is asked for these pixels alone; one that renders views itself for whole ones, each
    that differs from the others once.

    Args:
        backend: any, in evaluation mode.
        question: views and times, [B] or [B, T].
        pixels: which pixels of each view, row * width + column, int64, shape [B, K].

    Returns:
        Pixels [B, K] or [B, K, T].
    """
    if backend.renders_views:
        return _picked(backend, question, pixels)
    portion = backend.execution.rays_to_differentiate if question.wanted.slopes else backend.execution.rays_at_once
    if question.times.ndim == 1 or backend.times_at_once > 1:
        return render_through_rays(backend, question, portion, pixels)
    moments = [replace(question, times=times) for times in question.times.unbind(dim=1)]
    answers = [render_through_rays(backend, moment, portion, pixels) for moment in moments]
    return Rendering.of(answers, lambda values: torch.stack(values, dim=2))


def _picked(backend: Backend, question: ViewQuestion, pixels: Tensor) -> Rendering:
    """Pixels of whole views, [B, K] or [B, K, T]."""
    times = question.times if question.times.ndim == 2 else question.times[:, None]
    found: dict[tuple[int, int], Rendering] = {}
    for users in _alike(question, times).values():
        view, moment = users[0]
        one = replace(question[view : view + 1], times=times[view : view + 1, moment])
        answer = backend(one).changed(lambda values: values[0].flatten(0, 1))
        for user in users:
            chosen = pixels[user[0]]
            found[user] = answer.changed(lambda values, chosen=chosen: values[chosen])
    rows = []
    for view in range(len(pixels)):
        moments = [found[view, moment] for moment in range(times.shape[1])]
        rows.append(Rendering.of(moments, lambda values: torch.stack(values, dim=1)))
    together = Rendering.of(rows, torch.stack)
    return together if question.times.ndim == 2 else together.changed(lambda values: values[:, :, 0])


def _alike(question: ViewQuestion, times: Tensor) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Views and moments (numbers of both) that show the same picture, by what tells the pictures apart.

    Of a camera that stands still, frames at many candidates' times are the same few moments.
    """
    parts = (question.views.poses, question.views.intrinsics, question.views.corners, question.readouts)
    still = all(bool((part == part[:1]).all()) for part in parts)
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for view, moments in enumerate(times.tolist()):
        for moment, time in enumerate(moments):
            groups.setdefault((0 if still else view, round(time / SAME_TIME)), []).append((view, moment))
    return groups
