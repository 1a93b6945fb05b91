"""The contract between the core and a dynamic field: what a backend is given, what it answers, how it is found."""

from __future__ import annotations

import importlib
import logging
import os
from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Literal

import torch
from torch import Tensor, nn

from syncnerf.errors import UserError, did_you_mean
from syncnerf.scene.rays import Rays

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "syncnerf.backends"
DEVELOPMENT_VARIABLE = "SYNCNERF_BACKENDS"


@dataclass(frozen=True)
class BackendSpec:
    """What the core knows of a backend before it imports anything heavy.

    Attributes:
        name: value of the option ``backend``.
        summary: one line for ``--help``.
        config: a dataclass of the backend's options, each field made by :func:`syncnerf.option.option`.
        adapter: ``module:callable``; called as ``adapter(config, geometry)``, returns a :class:`Backend`.
        batch: ``rays`` for one time per ray, ``time_series`` for all frames of a pixel at once.
        unfit: called as ``unfit(config, space)``, says why a configuration cannot train in a space (``bounded``,
            ``contraction`` or ``ndc``) and what to do; empty if it can. None where every one can.
    """

    name: str
    summary: str
    config: type
    adapter: str
    batch: Literal["rays", "time_series"]
    unfit: Callable[[Any, str], str] | None = None

    def build(self, config: Any, geometry: SceneGeometry) -> Backend:
        """Import the adapter and build the backend for a scene."""
        module, _, attribute = self.adapter.partition(":")
        return getattr(importlib.import_module(module), attribute)(config, geometry)


@dataclass(frozen=True)
class NormalizedDeviceCoordinates:
    """The forward-facing camera that defines normalised device coordinates (NeRF, appendix C); pixels."""

    width: int
    height: int
    focal: float


@dataclass(frozen=True)
class SceneGeometry:
    """What a backend may know of a scene: space and time, never a camera.

    Attributes:
        bounds: corners of the box, float32, shape [2, 3] (in normalised device coordinates when ``ndc`` is given).
        near: distance at which the scene may begin.
        far: distance at which it ends.
        frame_count: frames that the field's time [-1, 1] spans; corrected times may leave it by a little.
        steps: length of the training, for schedules.
        contraction: whether space beyond ``bounds`` is contracted into it.
        ndc: given where rays should be warped to normalised device coordinates.
        background: colour behind the scene, or None for a backend to learn.
        occupied: cells of ``bounds`` that may hold something at some time, bool, shape [X, Y, Z], or None if unknown.
        engine: what the field's kernels run on, one of :data:`syncnerf.encodings.engines.ENGINES`.
        fixed_shapes: in training, the device should not be waited for: no shape may depend on a tensor's numbers,
            where the backend can help it.
        compiled: ``torch.compile`` what gains by it.
    """

    bounds: Tensor
    near: float
    far: float
    frame_count: int
    steps: int
    contraction: bool = False
    ndc: NormalizedDeviceCoordinates | None = None
    background: tuple[float, float, float] | None = None
    occupied: Tensor | None = None
    engine: str = "torch"
    fixed_shapes: bool = False
    compiled: bool = False


@dataclass
class Rendering:
    """What a backend answers for N rays at one time each, or at T times each.

    Attributes:
        rgb: colours in [0, 1], shape [N, 3] or [N, T, 3].
        depth: expected distance along the ray, shape [N] or [N, T].
        accumulation: opacity in [0, 1], shape [N] or [N, T].
        extras: named tensors for losses and pictures (``static_rgb``, ``dynamic_rgb`` are shown where present).
    """

    rgb: Tensor
    depth: Tensor
    accumulation: Tensor
    extras: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Replacement:
    """A parameter that took another's place in a backend, so that what the optimizer remembers of it moves along.

    Attributes:
        old: the parameter that is gone.
        new: the one that is there now, in the same group of parameters.
        rows: for each row of ``new`` the row of ``old`` whose moments it takes, or -1 for a row that starts afresh,
            int64, shape [rows of new]; None where nothing of ``old`` holds for ``new``.
    """

    old: nn.Parameter
    new: nn.Parameter
    rows: Tensor | None = None


@dataclass
class RayBatch:
    """What one training step sees.

    Attributes:
        rays: N rays.
        cameras: each ray's global camera index, int64, shape [N].
        frame_times: seconds on the camera's own clock, float64, shape [N] or [N, T].
        rows: each ray's row in its image, from -1/2 at the top to 1/2 at the bottom, float32, shape [N].
        rgb: true colours in [0, 1], float32, shape [N, 3] or [N, T, 3].
        statistics: per-pixel facts a backend may supervise with: ``mean`` [N, 3] and ``deviation`` [N] over the video.
    """

    rays: Rays
    cameras: Tensor
    frame_times: Tensor
    rows: Tensor
    rgb: Tensor
    statistics: dict[str, Tensor] = field(default_factory=dict)

    def apply(self, change: Callable[[Tensor], Tensor]) -> RayBatch:
        """The batch with ``change`` applied to each of its tensors: another device, or some of the rays."""
        return RayBatch(
            self.rays.apply(change),
            change(self.cameras),
            change(self.frame_times),
            change(self.rows),
            change(self.rgb),
            {name: change(value) for name, value in self.statistics.items()},
        )

    def to(self, device: torch.device | str) -> RayBatch:
        """The same batch on another device; from pinned memory without waiting for it."""
        return self.apply(lambda tensor: tensor.to(device, non_blocking=tensor.is_pinned()))


class Backend(nn.Module):
    """A dynamic radiance field. It sees rays and corrected times, never a camera.

    Everything that changes during training is a function of the step number and of the parameters and buffers, so that
    a run resumed from a checkpoint continues the same curve.

    Attributes:
        decompose: also render ``static_rgb`` and ``dynamic_rgb`` into the extras, where the field knows them.
    """

    decompose: bool = False

    @abstractmethod
    def render(self, rays: Rays, times: Tensor, generator: torch.Generator | None = None) -> Rendering:
        """Render rays.

        Args:
            rays: N rays.
            times: the field's time, [-1, 1] over all that the cameras saw, float64, shape [N]; or [N, T] for a
                ``time_series`` backend, which also takes [N]. Gradients reach it.
            generator: source of every random draw (sample jitter); None renders deterministically.
        """

    @abstractmethod
    def losses(self, rendering: Rendering, batch: RayBatch, step: int) -> dict[str, Tensor]:
        """Weighted loss terms of the rays by name, means over them; the photometric one is called ``photometric``.

        What is minimised is their sum and that of the :meth:`penalties`.
        """

    def penalties(self, step: int) -> dict[str, Tensor]:
        """Weighted loss terms by name that depend on the parameters alone; other names than those of the losses."""
        return {}

    @abstractmethod
    def param_groups(self, base_lr: float) -> list[dict[str, Any]]:
        """Parameter groups for Adam: dicts of ``name``, ``params`` and ``lr``."""

    def before_step(self, step: int) -> None:
        """Bring schedules to ``step``; called before each step, and once before evaluation."""

    def step_kind(self, step: int) -> Hashable | None:
        """What decides the operations of a step beside the numbers in tensors; None where that cannot be said.

        Steps of equal kinds run the same operations with the same shapes on tensors at the same places in memory, never
        wait for the device, and may be recorded once and replayed. Asked after :meth:`before_step`.
        """
        return None

    def after_step(self, step: int) -> Sequence[Replacement]:
        """Act on the finished step; says which parameters were replaced by which, all others being the same still."""
        return ()


def discover_backends() -> dict[str, BackendSpec]:
    """Find installed backends by entry point, and those named in ``SYNCNERF_BACKENDS`` (``name=module:attr,...``).

    A plugin that fails to import or is not a :class:`BackendSpec` is skipped with a warning that names it.

    Raises:
        UserError: two plugins claim one name, or the variable cannot be read.
    """
    sources: list[tuple[str, str]] = [(entry.name, entry.value) for entry in entry_points(group=ENTRY_POINT_GROUP)]
    for item in filter(None, os.environ.get(DEVELOPMENT_VARIABLE, "").split(",")):
        name, separator, target = item.partition("=")
        if not separator or ":" not in target:
            raise UserError(f"{DEVELOPMENT_VARIABLE}: '{item}' is not of the form name=module:attribute")
        sources.append((name.strip(), target.strip()))
    found: dict[str, BackendSpec] = {}
    for name, target in sources:
        spec = _load_spec(name, target)
        if spec is None:
            continue
        if name in found:
            raise UserError(f"backend '{name}' is provided twice (once by {target}); uninstall or rename one")
        found[name] = spec
    return found


def _load_spec(name: str, target: str) -> BackendSpec | None:
    module, _, attribute = target.partition(":")
    try:
        spec = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a plugin may fail in any way; the others must still work
        logger.warning("backend '%s' (%s) cannot be loaded and is left out: %s", name, target, error)
        return None
    if not isinstance(spec, BackendSpec):
        logger.warning("backend '%s' (%s) is left out: it is %s, not a BackendSpec", name, target, type(spec).__name__)
        return None
    return spec


def find_backend(name: str) -> BackendSpec:
    """The backend called ``name``; raises UserError listing what exists."""
    found = discover_backends()
    if name not in found:
        raise UserError(
            f"no backend '{name}'{did_you_mean(name, found)} (installed: {', '.join(sorted(found)) or 'none'})"
        )
    return found[name]
