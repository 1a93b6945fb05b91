"""Views of one scene from a text: encode, sample, decode, write."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from syncnerf.atomic import atomic_folder
from syncnerf.errors import UserError
from syncnerf.generate.adapter import ViewSyncAdapter
from syncnerf.generate.denoising import SHIFT, Denoising, groups, noise_levels, starting_noise
from syncnerf.generate.pipeline import WanFolder, decode
from syncnerf.generate.poses import Rig, embed_poses
from syncnerf.generate.scene_writer import camera_names, write_scene
from syncnerf.generate.state import StateFile
from syncnerf.generate.weights import digest, load_view_sync

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wish:
    """What is to be seen, and how it is sampled.

    Attributes:
        prompt: what the views show.
        negative_prompt: what they should not look like; Wan's own is in its repository.
        width: of a view, pixels.
        height: of a view, pixels.
        frames: of a view, 4 k + 1.
        steps: of the sampling.
        guidance: weight of the prompt against the negative one; 1 for none, at half the time.
        seed: of the noise.
        anchored: only ever two views at once, each beside the first one; for little memory.
    """

    prompt: str
    negative_prompt: str = ""
    width: int = 832
    height: int = 480
    frames: int = 81
    steps: int = 50
    guidance: float = 5.0
    seed: int = 0
    anchored: bool = False

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise UserError("prompt: is empty; say what the views show")
        if self.steps < 1 or not 1 <= self.guidance < 100:
            raise UserError(f"steps = {self.steps}, guidance = {self.guidance:g}: should be at least 1 each, below 100")


def generate(
    folder: WanFolder,
    weights: Path,
    rig: Rig,
    wish: Wish,
    out: Path,
    *,
    resume: bool = False,
    tiled: bool = False,
) -> None:
    """Make a scene of synchronous views; only one part of the model is on the device at a time.

    Args:
        folder: the base model.
        weights: file of the module's weights.
        rig: the cameras.
        wish: what to make.
        out: folder of the scene, in SynCamVideo's layout; must not exist yet.
        resume: go on with an interrupted sampling of the same settings.
        tiled: decode frames in tiles.

    Raises:
        UserError: something of the user's is unfit; nothing is left but the state of an interrupted sampling.
    """
    if out.exists():
        raise UserError(f"{out}: already exists; remove it or name another folder with --out")
    shape = folder.latent_shape(wish.frames, wish.width, wish.height)
    noise = starting_noise(len(rig.names), shape, wish.seed)
    settings = _record(folder, weights, rig, wish)
    state = StateFile.beside(out, settings)
    begun = state.load(noise, resume)
    order = groups(len(rig.names), wish.anchored)
    latents = begun.latents
    if begun.group < len(order):
        text, negative = folder.encode_texts([wish.prompt, wish.negative_prompt])
        adapter = ViewSyncAdapter(folder.transformer())
        load_view_sync(adapter, weights)
        device = folder.device
        denoising = Denoising(
            adapter,
            embed_poses(rig.camera_to_world, shape[1]).to(device),
            text.to(device),
            negative.to(device),
            wish.guidance,
            noise_levels(wish.steps),
        )
        latents = denoising.run(noise.to(device), order, begun, state.save)
        del denoising, adapter
        _free(device)
    autoencoder = folder.autoencoder(tiled)

    def videos() -> Iterator[Iterator[Tensor]]:
        for view in latents:
            yield decode(autoencoder, view.to(folder.device))

    with atomic_folder(out) as partial:
        write_scene(partial, rig, videos(), settings)
    state.remove()
    logger.info("wrote %s: %s", out, ", ".join(camera_names(rig)))


def _record(folder: WanFolder, weights: Path, rig: Rig, wish: Wish) -> dict[str, Any]:
    """Everything that decides the result, for ``prompt.json`` and to refuse a state of other settings."""
    if not weights.is_file():
        raise UserError(
            f"{weights}: no such file; give step20000.ckpt of SynCamMaster, or what convert-view-sync wrote"
        )
    return asdict(wish) | {
        "shift": SHIFT,
        "model": folder.folder.resolve().name,
        "number_type": str(folder.kind).removeprefix("torch."),
        "view_sync": weights.name,
        "view_sync_sha256": digest(weights),
        "cameras": dict(zip(rig.names, rig.camera_to_world.tolist(), strict=True)),
    }


def _free(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
