"""What the device computes in a training step: render, backward pass, update."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.profiler import record_function

from syncnerf.backend import Replacement
from syncnerf.batch import Batch
from syncnerf.synced import SyncedBackend
from syncnerf.training.options import TrainingConfig
from syncnerf.training.ranks import Ranks
from syncnerf.training.schedule import Course, learning_rate_factor

SQUARED_ERROR = "squared_error"
"""Name under which a step reports, beside its losses, the mean squared error of colours, whatever is minimised."""


class TrainingStep:
    """The optimizer, and the computation that every step repeats.

    Nothing in it waits for the device, so that steps can be recorded as CUDA graphs if the backend allows it.

    Args:
        synced: offsets and field.
        config: learning rates and precision.
        ranks: this process among those that train together.
        course: the length of the training if it was changed; None for the configuration's steps.
    """

    def __init__(
        self,
        synced: SyncedBackend,
        config: TrainingConfig,
        ranks: Ranks,
        course: Course | None = None,
    ):
        self.synced, self.config, self.device, self.ranks, self.course = synced, config, synced.device, ranks, course
        self.number_type = getattr(torch, config.precision)
        self.make_scaler()
        self.make_optimizer()

    def make_scaler(self, state: dict | None = None) -> None:
        """A gradient scaler for float16, idle in other precisions; restored from a state if one is given."""
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.number_type == torch.float16)
        if state:
            self.scaler.load_state_dict(state)

    def make_optimizer(self, state: dict | None = None) -> None:
        """Adam for the parameters that there are now; its moments are restored from a state if one is given.

        Raises:
            ValueError: the state belongs to other parameters.
        """
        groups = self.synced.param_groups(self.config.lr)
        self.heights = {group["name"]: group["lr"] for group in groups}
        # Schedules are kept out of the optimizer, whose state goes into checkpoints.
        self.schedules = {group["name"]: group.pop("schedule") for group in groups if "schedule" in group}
        self.trained = [parameter for group in groups for parameter in group["params"]]
        # The fused update passes over all numbers once instead of a dozen times: several times faster on a CPU.
        fused, cuda = self.device.type in ("cpu", "cuda"), self.device.type == "cuda"
        self.optimizer = torch.optim.Adam(groups, lr=self.config.lr, eps=1e-15, fused=fused, capturable=cuda)
        if state:
            self.optimizer.load_state_dict(state)
            _check_moments(self.optimizer)
        for group in self.optimizer.param_groups:
            # A tensor, so that a replayed step reads its current value. CUDA's kernel expects 32 bits.
            kind = torch.float32 if cuda else torch.float64
            group["lr"] = torch.tensor(float(group["lr"]), dtype=kind, device=self.device)

    def replace(self, replaced: Sequence[Replacement]) -> None:
        """Take over parameters that a backend replaced: Adam's moments follow their rows, all other moments stay."""
        for item in replaced:
            group = next(group for group in self.optimizer.param_groups if _holds(group["params"], item.old))
            group["params"] = [item.new if parameter is item.old else parameter for parameter in group["params"]]
            moments = self.optimizer.state.pop(item.old, None)
            if moments is not None and item.rows is not None:
                self.optimizer.state[item.new] = {
                    name: value if value.ndim == 0 else _moved(value, item.rows) for name, value in moments.items()
                }
        self.trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    @property
    def rates(self) -> dict[str, float]:
        """Learning rate of each group of parameters."""
        return {group["name"]: float(group["lr"]) for group in self.optimizer.param_groups}

    def set_rates(self, step: int) -> None:
        """Set the learning rates of a step."""
        factor = learning_rate_factor(self.config, step, self.course)
        for group in self.optimizer.param_groups:
            schedule = self.schedules.get(group["name"])
            group["lr"].fill_(self.heights[group["name"]] * (schedule(step) if schedule else factor))

    def compute(
        self, batch: Batch, share: float, step: int, generator: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        """Take a step along the gradient of all loss terms; returns these and the :data:`SQUARED_ERROR`.

        Args:
            batch: this process's rays or views, on the device.
            share: what share of the whole batch they are.
            step: number of the step.
            generator: source of random numbers, such as the jitter of samples along rays.
        """
        synced = self.synced
        with torch.autocast(self.device.type, self.number_type, enabled=self.number_type != torch.float32):
            rendering = synced.render_batch(batch, generator)
            with record_function("losses"):
                losses = synced.losses(rendering, batch, step)
        with record_function("backward"):
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(share * _total(losses)).backward()
        with self.ranks.summing(self.trained):
            with record_function("losses"):
                penalties = synced.penalties(step)
            # There may be no penalties, or only of parameters that are not trained.
            if any(value.requires_grad for value in penalties.values()):
                with record_function("backward"):
                    self.scaler.scale(_total(penalties)).backward()
        with record_function("optimizer"):
            self.scaler.unscale_(self.optimizer)
            self.ranks.add_up(synced.after_backward(rendering, batch, step))
            self.scaler.step(self.optimizer)
            self.scaler.update()
        error = (rendering.rgb.detach() - batch.rgb).square().mean()
        return {name: value.detach() for name, value in (losses | penalties).items()} | {SQUARED_ERROR: error}


def _check_moments(optimizer: torch.optim.Optimizer) -> None:
    """Raise ValueError if moments have another shape than their parameter: the fused step would write beyond them."""
    for parameter, moments in optimizer.state.items():
        if any(value.ndim and value.shape != parameter.shape for value in moments.values()):
            raise ValueError("moments of another shape than their parameter's")


def _holds(parameters: list[Tensor], wanted: Tensor) -> bool:
    return any(parameter is wanted for parameter in parameters)


def _moved(moments: Tensor, rows: Tensor) -> Tensor:
    """The moments of a replaced parameter: each new row takes those of an old one (``rows``), or zero if that is -1."""
    kept = (rows >= 0).to(moments.dtype).reshape(-1, *[1] * (moments.ndim - 1))
    return moments[rows.clamp_min(0)] * kept


def _total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack([value.double() for value in terms.values()]).sum()
