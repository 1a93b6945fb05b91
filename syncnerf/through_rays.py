"""Views, and pixels of them, through rays in portions: the way of every backend that answers rays."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int64
from torch import Tensor

from syncnerf.questions import RayQuestion, Rendering, ViewQuestion

Answer = Callable[[RayQuestion], Rendering]


def render_through_rays(
    answer: Answer, question: ViewQuestion, portion: int, pixels: Int64[Tensor, "B K"] | None = None
) -> Rendering:
    """Answer a question about views by rays through their pixel centres.

    Args:
        answer: renders N rays.
        question: views and times, [B] or [B, T].
        portion: rays (times moments) that are asked for at once.
        pixels: which pixels of each view, int64, shape [B, K]; None for all.

    Returns:
        Pixels [B, height, width] or [B, K], each at T moments where the question has so many. Extras that are not
        pictures are those of the rays, and there only where they were asked for all at once.
    """
    asked = question.through_rays(pixels)
    moments = question.times[0].numel()
    size = max(1, portion // moments)
    parts = [answer(asked[start : start + size]) for start in range(0, max(len(asked), 1), size)]
    rendering = parts[0] if len(parts) == 1 else Rendering.of(parts, torch.cat)
    shape = (len(question), question.views.height, question.views.width) if pixels is None else pixels.shape
    return rendering.changed(lambda values: values.reshape(*shape, *values.shape[1:]))


def backward_slopes(answer: Answer, question: RayQuestion) -> Rendering:
    """Colours of rays and their derivatives by time, without a graph; a backward pass for each channel.

    A ray's colour depends on its own time alone.
    """
    times = question.times.detach().requires_grad_()
    with torch.enable_grad():
        rgb = answer(RayQuestion(question.rays, times)).rgb
        slopes = [torch.autograd.grad(rgb[..., c].sum(), times, retain_graph=c < 2)[0] for c in range(3)]
    return Rendering(rgb.detach(), slopes=torch.stack(slopes, dim=-1))
