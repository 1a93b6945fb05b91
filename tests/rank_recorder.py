"""Steps of a training with every gradient noted; started by ``torchrun`` too, one process per rank.

python rank_recorder.py FOLDER STEPS [options of syncnerf train ...]
"""

import subprocess
import sys
from pathlib import Path

import torch
from training_runs import make_trainer

from syncnerf.training.ranks import Ranks, join_ranks

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
"""Starts what follows in two processes."""


def record_steps(folder: Path, steps: int, arguments: list[str], ranks: Ranks) -> dict:
    """Losses and gradients of every step without jitter, and the parameters and buffers at the end."""
    trainer = make_trainer(arguments, folder, ranks=ranks)
    trainer.recordings.generator = None
    names = {parameter: name for name, parameter in trainer.synced.named_parameters()}
    gradients: list[dict[str, torch.Tensor]] = []

    def note(*_) -> None:
        gradients.append({names[p]: p.grad.clone() for p in trainer.work.trained if p.grad is not None})

    trainer.work.optimizer.register_step_pre_hook(note)
    losses = []
    for _ in range(steps):
        terms, rays = trainer.train_step()
        losses.append(ranks.mean({name: value.item() for name, value in terms.items()}, rays))
    state = {name: value.clone() for name, value in trainer.synced.state_dict().items()}
    return {"gradients": gradients, "losses": losses, "state": state, "rays": rays}


def record_two_processes(folder: Path, steps: int, arguments: list[str]) -> list[dict]:
    """What :func:`record_steps` finds in each of two processes that train together."""
    command = [*TORCHRUN, str(Path(__file__)), str(folder), str(steps), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"rank_{rank}.pt", weights_only=True) for rank in (0, 1)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    target = Path(sys.argv[1])
    with join_ranks(torch.device("cpu")) as this:
        result = record_steps(target / f"run_{this.rank}", int(sys.argv[2]), sys.argv[3:], this)
        torch.save(result, target / f"rank_{this.rank}.pt")
