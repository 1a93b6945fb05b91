"""Which moments any training camera has seen: a field knows nothing of others."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float64
from torch import Tensor

from syncnerf.clock import Clock
from syncnerf.scene.scene import Scene


def seen_span(clock: Clock, scene: Scene, cameras: Sequence[int] | None = None) -> tuple[float, float]:
    """First and last scene time in seconds that a training camera has a frame of, as the clock has them now.

    Args:
        clock: the cameras' times.
        scene: cameras and frames.
        cameras: global indices of those that count; all training cameras by default.
    """
    offsets, rates = (values.detach().cpu().tolist() for values in (clock.offsets(), clock.rates()))
    ends = [
        (offsets[i] + (1.0 + rates[i]) * times[0].item(), offsets[i] + (1.0 + rates[i]) * times[-1].item())
        for i, times in ((i, scene.cameras[i].frame_times) for i in cameras or scene.train)
    ]
    return min(first for first, _ in ends), max(last for _, last in ends)


def were_seen(clock: Clock, scene: Scene, moments: Float64[Tensor, " N"]) -> list[bool]:
    """Of each scene time (seconds, shape [N]) whether a training camera saw it, to half a frame."""
    first, last = seen_span(clock, scene)
    room = scene.frame_interval / 2
    return [first - room <= moment <= last + room for moment in moments.tolist()]
