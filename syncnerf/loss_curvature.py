"""How a training's loss bends by the cameras' clocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.batch import Batch
from syncnerf.modes import frozen
from syncnerf.questions import Question
from syncnerf.synced import SyncedBackend


def loss_curvatures(synced: SyncedBackend, batches: Iterable[Batch], step: int, nudge: float) -> Float64[Tensor, " C"]:
    """Second derivative of the loss of colours by each camera's shift, per second^2, float64, shape [C].

    From its gradients at times a little earlier and a little later, so that it holds for whatever loss a backend has.
    It is that of the mean over all batches; NaN for cameras that are in none of them.

    Args:
        synced: clock and field.
        batches: of the training.
        step: of the training, which decides the loss.
        nudge: by how much times are moved, seconds.
    """
    curvatures = torch.zeros(synced.clock.camera_count, dtype=torch.float64, device=synced.device)
    shown, count = torch.zeros_like(curvatures, dtype=torch.bool), 0
    with frozen(synced):
        synced.train()
        for batch in batches:
            with torch.no_grad():
                question = synced.question(batch)
                by = synced.clock.spans(question.times.new_tensor(nudge))
            later, earlier = (_slope_of_loss(synced, question, batch, step, side * by) for side in (1.0, -1.0))
            curvatures.index_add_(0, batch.cameras, (later - earlier) * by / (2.0 * nudge**2))
            shown[batch.cameras], count = True, count + 1
    return torch.where(shown, curvatures / count, torch.nan)


def _slope_of_loss(synced: SyncedBackend, question: Question, batch: Batch, step: int, by: Tensor) -> Tensor:
    """Derivative of a batch's loss by each of its times, all moved by so much, float64, shape [N]."""
    times = (question.times + by).requires_grad_(True)
    shown = synced.colours(batch.cameras, synced.backend(replace(question, times=times)))
    loss = torch.stack([value.double() for value in synced.losses(shown, batch, step).values()]).sum()
    (gradient,) = torch.autograd.grad(loss, times)
    return gradient.double().flatten(1).sum(dim=1) if gradient.ndim > 1 else gradient.double()
