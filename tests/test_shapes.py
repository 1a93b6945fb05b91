"""Public functions state the shapes of their tensors, and these are checked in the tests."""

import ast
from collections.abc import Iterator

import pytest
import torch
from checked_shapes import FILES, ROOT, UNCHECKED, module_name
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


TENSORS = {"Tensor", "torch.Tensor", "ndarray", "np.ndarray"}
BY_TORCH = ("forward", "backward", "jvp", "setup_context")
"""What autograd calls is not a function of anyone else's."""


def has_no_shape(note: ast.expr | None) -> bool:
    """Whether an annotation names a tensor, or holds one, without a jaxtyping shape; or is not there."""
    if note is None:
        return True
    if isinstance(note, ast.Constant) and isinstance(note.value, str):
        note = ast.parse(note.value, mode="eval").body
    if isinstance(note, ast.Name | ast.Attribute):
        return ast.unparse(note) in TENSORS
    if isinstance(note, ast.Subscript) and isinstance(note.slice, ast.Tuple) and len(note.slice.elts) == 2:
        array, shape = note.slice.elts
        if ast.unparse(array) in TENSORS and isinstance(shape, ast.Constant):
            return False
    return any(has_no_shape(part) for part in ast.iter_child_nodes(note))


def is_test(node: ast.FunctionDef) -> bool:
    """Tests and fixtures of the contract's suite take what pytest gives them."""
    return node.name.startswith(("test_", "pytest_")) or any("fixture" in ast.unparse(d) for d in node.decorator_list)


def public_annotations(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.expr | None]]:
    """Every annotation of a public function's arguments and answer, and of a public class's fields, by its name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public_annotations(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.AnnAssign) and isinstance(node, ast.ClassDef):
            if not (name := ast.unparse(child.target)).startswith("_"):
                yield prefix + name, child.annotation
        elif isinstance(child, ast.FunctionDef) and not is_test(child):
            special = child.name.startswith("__") and child.name.endswith("__")
            if child.name.startswith("_") and not special:
                continue
            function = isinstance(node, ast.ClassDef) and any(
                ast.unparse(base).endswith("Function") for base in node.bases
            )
            if function and child.name in BY_TORCH:
                continue
            arguments = child.args
            for item in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                if item.arg not in ("self", "cls"):
                    yield f"{prefix}{child.name}({item.arg})", item.annotation
            if child.name != "__init__":
                yield f"{prefix}{child.name} ->", child.returns


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_functions_state_the_shapes_of_their_tensors(path):
    found = public_annotations(ast.parse(path.read_text()))
    assert [name for name, note in found if has_no_shape(note)] == []


@pytest.mark.parametrize(
    "text",
    [
        "def of(values: Tensor) -> int: ...",
        "def of(values) -> int: ...",
        "def of(values: int) -> dict[str, Tensor | None]: ...",
        "class Kept:\n    values: np.ndarray",
        "class Kept:\n    def all(self, change: Callable[[Tensor], int]) -> 'Kept': ...",
        "class Kept:\n    def __getitem__(self, index: slice) -> Tensor: ...",
    ],
)
def test_a_tensor_without_a_shape_is_noticed(text):
    stated = text.replace("Tensor", 'Float[Tensor, "N 3"]').replace("np.ndarray", 'Float[np.ndarray, "N 3"]')
    stated = stated.replace("(values)", '(values: Float[Tensor, "N 3"])')
    unstated = [name for name, note in public_annotations(ast.parse(text)) if has_no_shape(note)]
    assert len(unstated) == 1
    assert not [name for name, note in public_annotations(ast.parse(stated)) if has_no_shape(note)]
    private = text.replace(" of(", " _of(").replace("Kept", "_Kept")
    assert not [name for name, note in public_annotations(ast.parse(private)) if has_no_shape(note)]


def test_what_nobody_checks_is_there():
    assert set(UNCHECKED) < {module_name(path) for path in FILES}
