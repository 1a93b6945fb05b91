"""Modes of modules that last for a block and are then as before."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module and its parts in eval mode, and each part back in its own mode afterwards."""
    modes = {part: part.training for part in module.modules()}
    try:
        module.eval()
        yield
    finally:
        for part, training in modes.items():
            part.training = training


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, and no gradients of parameters; each is as before afterwards."""
    gradients = {parameter: parameter.requires_grad for parameter in module.parameters()}
    with evaluation_mode(module):
        try:
            module.requires_grad_(False)
            yield
        finally:
            for parameter, required in gradients.items():
                parameter.requires_grad_(required)
