"""Files of view-synchronisation weights: the released checkpoint, and our own of the module alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import Tensor

from syncnerf.atomic import atomic_file
from syncnerf.errors import UserError, one_line
from syncnerf.generate.adapter import CHILD, ViewSyncAdapter

FORMAT = "syncnerf-view-sync-1"
"""Value of ``format`` in the header of our files."""

# The released checkpoint's names -> diffusers'. Applied in order, each to what the ones before it left.
RENAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^(blocks\.\d+)\.mvs_attn\.", rf"\1.{CHILD}.attention."),
        (r"^(blocks\.\d+)\.modulation_mvs$", rf"\1.{CHILD}.modulation"),
        (r"^(blocks\.\d+)\.cam_encoder\.", rf"\1.{CHILD}.camera."),
        (r"^(blocks\.\d+)\.projector\.", rf"\1.{CHILD}.out."),
        (r"^(blocks\.\d+)\.self_attn\.", r"\1.attn1."),
        (r"^(blocks\.\d+)\.cross_attn\.", r"\1.attn2."),
        (r"\.(attn1|attn2|attention)\.([qkv])\.", r".\1.to_\2."),
        (r"\.(attn1|attn2|attention)\.o\.", r".\1.to_out.0."),
        (r"^(blocks\.\d+)\.norm3\.", r"\1.norm2."),
        (r"^(blocks\.\d+)\.ffn\.0\.", r"\1.ffn.net.0.proj."),
        (r"^(blocks\.\d+)\.ffn\.2\.", r"\1.ffn.net.2."),
        (r"^(blocks\.\d+)\.modulation$", r"\1.scale_shift_table"),
        (r"^text_embedding\.0\.", "condition_embedder.text_embedder.linear_1."),
        (r"^text_embedding\.2\.", "condition_embedder.text_embedder.linear_2."),
        (r"^time_embedding\.0\.", "condition_embedder.time_embedder.linear_1."),
        (r"^time_embedding\.2\.", "condition_embedder.time_embedder.linear_2."),
        (r"^time_projection\.1\.", "condition_embedder.time_proj."),
        (r"^head\.modulation$", "scale_shift_table"),
        (r"^head\.head\.", "proj_out."),
    )
)


def diffusers_name(name: str) -> str:
    """A tensor's name in diffusers' Wan with our modules, from its name in the released checkpoint."""
    for pattern, replacement in RENAMES:
        name = pattern.sub(replacement, name)
    return name


def read_view_sync(path: Path) -> dict[str, Shaped[Tensor, " ..."]]:
    """The module's tensors of a file, under their names in the transformer; nothing in it is executed.

    Args:
        path: ``step*.ckpt`` of the released model, of which only the module's tensors are read (the base model's, a
            frozen copy of Wan's own, stay on disk), or ``.safetensors`` with either kind of names.

    Raises:
        UserError: the file is missing, is no file of tensors, or holds none of the module's.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give step20000.ckpt of SynCamMaster, or what convert-view-sync wrote")
    return _read(path)[0]


def load_view_sync(adapter: ViewSyncAdapter, path: Path) -> None:
    """Read a file into an attached module.

    Where the file holds the base model too, its names must be those of the transformer one to one.

    Raises:
        UserError: what :func:`read_view_sync` raises, or a tensor is missing, unknown or of another shape.
    """
    (tensors, base), own = _read(path), adapter.state_dict()
    _check_names(path, tensors, own)
    if base:
        _check_names(path, base, adapter.transformer.state_dict().keys() - own.keys())
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise UserError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, the model needs {tuple(own[name].shape)}; "
                "it belongs to a model of another size"
            )
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def write_view_sync(path: Path, tensors: dict[str, Shaped[Tensor, " ..."]]) -> None:
    """Write the module's tensors as safetensors, whole or not at all; raises UserError where that fails."""
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as partial:
        save_file(plain, partial, {"format": FORMAT})


def convert_view_sync(source: Path, target: Path) -> int:
    """Write the module's tensors of a released checkpoint as safetensors; returns their number.

    The blocks must be complete: each with the tensors that the others have, numbered without a gap.

    Raises:
        UserError: the source is unfit or the target cannot be written.
    """
    tensors = read_view_sync(source)
    by_block: dict[int, set[str]] = {}
    for name in tensors:
        _, number, rest = name.split(".", 2)
        by_block.setdefault(int(number), set()).add(rest)
    every = set.union(*by_block.values())
    expected = {f"blocks.{block}.{rest}" for block in range(max(by_block) + 1) for rest in every}
    _check_names(source, tensors, expected)
    write_view_sync(target, tensors)
    return len(tensors)


def digest(path: Path) -> str:
    """SHA-256 of a file, for the record of what a video was made with."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_names(path: Path, found: Iterable[str], expected: Iterable[str]) -> None:
    missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing:
        raise UserError(f"{path}: lacks {_named(missing)}; the file is incomplete or of another model")
    if unknown:
        raise UserError(f"{path}: holds {_named(unknown)}, which the model has not; it is of another model")


def _named(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _read(path: Path) -> tuple[dict[str, Tensor], set[str]]:
    """The module's tensors of a file, and the names of all others, both as diffusers calls them."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give step20000.ckpt of SynCamMaster, or what convert-view-sync wrote")
    if path.suffix == ".safetensors":
        names, tensors = _read_safetensors(path)
    else:
        tensors = _read_checkpoint(path)
        names = list(tensors)
    own = [diffusers_name(name) for name in names]
    twice = {name for name in own if own.count(name) > 1} if len(set(own)) < len(own) else set()
    if twice:
        raise UserError(f"{path}: holds {_named(sorted(twice))} twice, under two names; it is no released checkpoint")
    found = {diffusers_name(name): tensor for name, tensor in tensors.items() if _is_module(name)}
    if not found:
        raise UserError(f"{path}: holds no tensors of view synchronisation (mvs_attn, cam_encoder, projector)")
    return found, {name for name in own if not _is_module(name)}


def _is_module(name: str) -> bool:
    """Whether a tensor, by either of its names, belongs to the module."""
    return f".{CHILD}." in diffusers_name(name)


def _read_safetensors(path: Path) -> tuple[list[str], dict[str, Tensor]]:
    """All names of the file, and the module's tensors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return names, {name: file.get_tensor(name) for name in names if _is_module(name)}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: is not a safetensors file that can be read ({one_line(error)})") from error


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    """All tensors of the file; what is not asked for stays on disk."""
    try:
        record = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # what is no checkpoint can trip the reader anywhere: IndexError, struct.error, ...
        raise UserError(f"{path}: is not a checkpoint of tensors that can be read ({one_line(error)})") from error
    if not isinstance(record, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in record.items()
    ):
        raise UserError(f"{path}: is not a flat table of tensors; give step20000.ckpt of SynCamMaster")
    return record
