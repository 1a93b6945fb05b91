"""The options with which commands name a model and the shape of its videos."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from syncnerf.errors import UserError
from syncnerf.option import add_number, count

if TYPE_CHECKING:
    from syncnerf.generate.pipeline import WanFolder


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a base model, of its videos' shape, and of where and how precisely it computes."""
    add = parser.add_argument
    add("--model", type=Path, required=True, help="folder like Wan2.1-T2V-1.3B-Diffusers")
    add("--size", default="832x480", help="width and height in pixels (default: 832x480)")
    frames = count(1, "a video has frames, and all are held in memory", 10_001)
    add_number(parser, "--frames", int, 81, "frames of a video, 4 k + 1", frames)
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add(
        "--precision", choices=("auto", "float32", "bfloat16"), default="auto",
        help="of the model; auto: bfloat16 on CUDA, else float32",
    )  # fmt: skip


def named_model(arguments: argparse.Namespace) -> tuple[WanFolder, str]:
    """The model that the options name, on its device, and the precision that it computes with.

    Raises:
        UserError: there is no such device.
    """
    import torch

    from syncnerf.generate.pipeline import WanFolder
    from syncnerf.job import choose_device

    device, precision = choose_device(arguments.device), arguments.precision
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" else "float32"
    return WanFolder(arguments.model, device, getattr(torch, precision)), precision


def parse_size(text: str) -> tuple[int, int]:
    """``832x480`` as width and height; raises UserError."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise UserError(f"size = {text}: should be width x height in pixels, as in 832x480")
    return int(parts[0]), int(parts[1])
