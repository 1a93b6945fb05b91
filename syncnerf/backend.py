"""The contract between the core and a dynamic field: what a backend is given, and what it answers."""

from __future__ import annotations

import importlib
import sys
from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn
from torch.autograd import forward_ad

from syncnerf.batch import Batch
from syncnerf.errors import UserError, one_line
from syncnerf.questions import Question, RayQuestion, Rendering, ViewQuestion
from syncnerf.scene.geometry import SceneGeometry
from syncnerf.through_rays import backward_slopes, render_through_rays

TrainsOn = Literal["rays", "time_series", "views"]


@dataclass(frozen=True)
class BackendSpec:
    """What the core knows of a backend before it imports anything heavy.

    Attributes:
        name: value of the option ``backend``.
        summary: one line for ``--help``.
        config: a dataclass of the backend's options, each field made by :func:`syncnerf.option.option`.
        adapter: ``module:callable``; called as ``adapter(config, geometry, execution)``, returns a :class:`Backend`.
        trains_on: ``rays`` at one time each, a ``time_series`` of all frames of a pixel at once, or whole ``views``.
        learns_distances: whether it learns from a ``distance`` among a batch's statistics; none are computed where its
            option ``distance_weight``, if it has one, is 0.
        carves: called as ``carves(config)``, says in how many intervals :attr:`SceneGeometry.occupied_at` should
            be carved before a training; 1 for none. None where that never is of use.
        tells_still: whether :attr:`SceneGeometry.moving_at` should be found beside it.
        starts_from_points: whether :attr:`SceneGeometry.points` should be sought before a training.
        has_networks: whether any of it may compute in 16 bits, as the option ``precision`` has it (torch's autocast).
        engines: what its kernels can run on, in the order in which ``auto`` tries them on a GPU, ``torch`` last; empty
            for a backend that is made of :mod:`syncnerf.encodings`, whose engines are its own.
        unfit: called as ``unfit(config, space)``, says why a configuration cannot train in a space (``bounded``,
            ``contraction`` or ``ndc``) and what to do; empty if it can. None where every one can.
    """

    name: str
    summary: str
    config: type
    adapter: str
    trains_on: TrainsOn
    learns_distances: bool = False
    carves: Callable[[Any], int] | None = None
    tells_still: bool = False
    starts_from_points: bool = False
    has_networks: bool = True
    engines: tuple[str, ...] = ()
    unfit: Callable[[Any, str], str] | None = None

    def build(self, config: Any, geometry: SceneGeometry, execution: Execution | None = None) -> Backend:
        """Import the adapter and build the backend for a scene.

        Raises:
            UserError: the adapter is not there, or what it imports is not.
        """
        module, _, attribute = self.adapter.partition(":")
        try:
            adapter = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            what = f"backend '{self.name}' ({self.adapter}) cannot be imported"
            raise UserError(f"{what} ({one_line(error)}); install it anew") from error
        return adapter(config, geometry, execution or Execution())


@dataclass(frozen=True)
class Execution:
    """How a backend computes: what it runs on and in which portions. The answers are the same whatever it holds.

    Attributes:
        engine: what the field's kernels run on, one of the spec's.
        fixed_shapes: in training, the device should not be waited for: no shape may depend on a tensor's numbers,
            where the backend can help it.
        compiled: ``torch.compile`` what gains by it.
        rays_at_once: rays (times moments) in one call, where views are rendered through rays.
    """

    engine: str = "torch"
    fixed_shapes: bool = False
    compiled: bool = False
    rays_at_once: int = 16384

    @property
    def rays_to_differentiate(self) -> int:
        """The same where they are differentiated: a graph takes several times the memory."""
        return max(1, self.rays_at_once // 4)


@dataclass(frozen=True)
class Replacement:
    """A parameter that took another's place in a backend, so that what the optimizer remembers of it moves along.

    Attributes:
        old: the parameter that is gone.
        new: the one that is there now, in the same group of parameters; ``old`` itself where its rows were moved.
        rows: for each row of ``new`` the row of ``old`` whose moments it takes, or -1 for a row that starts afresh,
            int64, shape [rows of new]; None where nothing of ``old`` holds for ``new``.
    """

    old: nn.Parameter
    new: nn.Parameter
    rows: Int64[Tensor, " R"] | None = None


class Backend(nn.Module):
    """A dynamic radiance field. It is asked questions at corrected times, and never learns which camera asks.

    Calling it answers a question (:class:`RayQuestion` or :class:`ViewQuestion`). A backend of rays writes
    :meth:`render_rays`, and its views are rendered through rays. A rasteriser writes :meth:`render_views`, and the core
    asks it for views alone; it may answer loose rays as well, and leave to them the views that it cannot draw itself.

    Everything that changes during training is a function of the step number and of the parameters and buffers, so that
    a run resumed from a checkpoint continues the same curve.

    Args:
        execution: how it computes.

    Attributes:
        times_at_once: moments of one pixel, or of one camera's picture, that it likes to be asked for together.
    """

    times_at_once: int = 1

    def __init__(self, execution: Execution | None = None):
        super().__init__()
        self.execution = execution or Execution()

    # -- answers -------------------------------------------------------------------------------------------------

    def forward(self, question: Question, generator: torch.Generator | None = None) -> Rendering:
        """Answer a question; ``generator`` is the source of every random draw, None renders deterministically.

        Raises:
            ValueError: the backend has answered something else than it was asked.
        """
        if question.wanted.slopes:
            answer = self.render_slopes(question)
        elif isinstance(question, ViewQuestion):
            answer = self.render_views(question, generator)
        else:
            answer = self.render_rays(question, generator)
        if fault := question.fault_of(answer):
            raise ValueError(f"{type(self).__name__}: {fault}")
        return answer

    @property
    def renders_views(self) -> bool:
        """Whether it renders views itself, and not through rays."""
        return type(self).render_views is not Backend.render_views

    def render_rays(self, question: RayQuestion, generator: torch.Generator | None = None) -> Rendering:
        """Render N rays, at one time each or, for a backend of several ``times_at_once``, at T times each.

        Args:
            question: rays, times and what is wanted. Gradients reach the times.
            generator: source of every random draw (sample jitter); None renders deterministically.
        """
        raise NotImplementedError(f"{type(self).__name__} answers views, not loose rays")

    def render_views(self, question: ViewQuestion, generator: torch.Generator | None = None) -> Rendering:
        """Render B views; here: through rays, in portions where no gradient is wanted. A rasteriser has its own way.

        Args:
            question: views, times and what is wanted. Gradients reach the times and the readouts.
            generator: source of every random draw; None renders deterministically.
        """
        portion = sys.maxsize if torch.is_grad_enabled() else self.execution.rays_at_once
        return render_through_rays(lambda rays: self(rays, generator), question, portion)

    def render_slopes(self, question: Question) -> Rendering:
        """A deterministic rendering with its derivative by time, both without a graph.

        Of rays it is found backward, of views that are rendered through rays in portions. Of views that the backend
        renders itself it is found forward (:mod:`torch.autograd.forward_ad`), in one pass: all rows of a view move by
        as much as its time does. A rasteriser that has derivatives of its own overrides this.
        """
        plain = replace(question, wanted=replace(question.wanted, slopes=False))
        if isinstance(question, RayQuestion):
            return backward_slopes(self, plain)
        if not self.renders_views:
            return render_through_rays(self, question, self.execution.rays_to_differentiate)
        with torch.no_grad(), forward_ad.dual_level():
            times = forward_ad.make_dual(plain.times.detach(), torch.ones_like(plain.times))
            rgb, slopes = forward_ad.unpack_dual(self(replace(plain, times=times)).rgb)
        return Rendering(rgb, slopes=torch.zeros_like(rgb) if slopes is None else slopes)

    # -- training ------------------------------------------------------------------------------------------------

    @abstractmethod
    def losses(self, rendering: Rendering, batch: Batch, step: int) -> dict[str, Float[Tensor, ""]]:
        """Weighted loss terms of a batch by name, means over its pixels; the photometric one is called ``photometric``.

        What is minimised is their sum and that of the :meth:`penalties`.
        """

    def penalties(self, step: int) -> dict[str, Float[Tensor, ""]]:
        """Weighted loss terms by name that depend on the parameters alone; other names than those of the losses."""
        return {}

    @abstractmethod
    def param_groups(self, base_lr: float) -> list[dict[str, Any]]:
        """Parameter groups for Adam: dicts of ``name``, ``params`` and ``lr``.

        A group may have a ``schedule`` as well, a function from the step's number to the share of its ``lr`` that it
        has then, instead of the training's own warm-up and decay; and Adam's ``betas``.
        """

    def before_step(self, step: int) -> None:
        """Bring schedules to ``step``; called before each step, and once before evaluation."""

    def step_kind(self, step: int) -> Hashable | None:
        """What decides the operations of a step beside the numbers in tensors; None where that cannot be said.

        Steps of equal kinds run the same operations with the same shapes on tensors at the same places in memory, never
        wait for the device, and may be recorded once and replayed. Asked after :meth:`before_step`.
        """
        return None

    def after_backward(self, rendering: Rendering, batch: Batch, step: int) -> Sequence[Shaped[Tensor, " ..."]]:
        """Look at the gradients, between the backward pass and the optimizer's step.

        Args:
            rendering: what was answered; what its extras retain has its gradients.
            batch: what it was about: this process's share of it, where several train together.
            step: number of the step.

        Returns:
            Tensors of this step's statistics that are to be added up over all processes, in place: :meth:`after_step`
            finds the sums in them.
        """
        return ()

    def after_step(self, step: int) -> Sequence[Replacement]:
        """Act on the finished step; says which parameters were replaced by which, all others being the same still.

        A parameter whose rows were moved or filled anew, in place, is named as its own replacement.
        """
        return ()
