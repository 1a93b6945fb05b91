"""Shapes that functions state are checked in the tests, and stated wherever a module is checked."""

import ast
import importlib.util
from pathlib import Path

import pytest
import torch
from checked_shapes import MODULES
from jaxtyping import TypeCheckError

from syncnerf.evaluation.metrics import psnr
from syncnerf.rendering.compositing import render_weights
from syncnerf.scene.rays import Rays
from syncnerf.sync.solve import Lags, inner_inverse
from syncnerf_kplanes.plane_lookup import plane_features
from syncnerf_mixvoxels.vm_lookup import vm_features


def double(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.float64)


WRONG = {
    "lengths of other samples": lambda: render_weights(torch.rand(3, 4), torch.rand(3, 5)),
    "whole numbers for colours": lambda: psnr(torch.ones(2, 2, 3, dtype=torch.uint8), torch.ones(2, 2, 3)),
    "directions of fewer rays": lambda: Rays(torch.rand(4, 3), torch.rand(3, 3), torch.rand(4), torch.rand(4)),
    "a lag too few": lambda: Lags(torch.zeros(2).long(), torch.zeros(2).long(), double(1), double(2)),
    "single precision": lambda: inner_inverse(torch.eye(3), double(1, 3)),
    "points without time": lambda: plane_features(torch.rand(5, 3), [torch.rand(4, 4, 4)] * 6),
    "lines for planes": lambda: vm_features(torch.rand(5, 3), [torch.rand(4, 4)] * 3, [torch.rand(4, 4)] * 3),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=list(WRONG))
def test_a_wrong_shape_is_refused(call):
    with pytest.raises(TypeCheckError):
        call()


def files() -> list[Path]:
    """The files of the checked modules, those of a package one by one."""
    found = []
    for name in MODULES:
        path = Path(importlib.util.find_spec(name).origin)
        found += path.parent.glob("*.py") if path.name == "__init__.py" else [path]
    return found


@pytest.mark.parametrize("path", files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_public_functions_of_checked_modules_state_their_shapes(path):
    unstated = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef) or (node.name.startswith("_") and node.name != "__init__"):
            continue
        notes = [argument.annotation for argument in node.args.args] + [node.returns]
        texts = [ast.unparse(note) for note in notes if note is not None]
        if any(text in ("Tensor", "Tensor | None", "tuple[Tensor, Tensor]") for text in texts):
            unstated.append(node.name)
    # What autograd calls is not a function of anyone else's.
    assert [name for name in unstated if name not in ("backward", "forward")] == []
