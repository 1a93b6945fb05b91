"""The parts of a local Wan folder, one at a time on the device: text encoder, transformer, video autoencoder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf.errors import UserError, one_line
from syncnerf.records import read_json_object

TEXT_LENGTH = 512
"""Tokens of a prompt, as Wan was trained; shorter ones are filled up."""
PARTS = ("tokenizer", "text_encoder", "transformer", "vae")


class WanFolder:
    """A folder as ``Wan2.1-T2V-1.3B-Diffusers``; nothing is downloaded.

    Args:
        folder: its path.
        device: where the parts compute.
        kind: number type of the text encoder and the transformer; the autoencoder keeps 32 bits, as Wan's should.

    Raises:
        UserError: the folder is no such one.
    """

    def __init__(self, folder: Path, device: torch.device, kind: torch.dtype):
        self.folder, self.device, self.kind = folder, device, kind
        if not (folder / "model_index.json").is_file():
            raise UserError(f"{folder}: has no model_index.json; give a folder like Wan2.1-T2V-1.3B-Diffusers")
        for part in PARTS:
            if not (folder / part).is_dir():
                raise UserError(f"{folder}: has no folder {part}; download the model completely")

    @property
    def latent_scale(self) -> tuple[int, int]:
        """Frames, and pixels per side, that one latent number stands for."""
        config = read_json_object(self.folder / "vae" / "config.json")
        return int(config.get("scale_factor_temporal", 4)), int(config.get("scale_factor_spatial", 8))

    def latent_shape(self, frames: int, width: int, height: int) -> tuple[int, int, int, int]:
        """Channels, frames, rows and columns of a video's latents.

        Raises:
            UserError: the model makes no videos of this size.
        """
        config = read_json_object(self.folder / "transformer" / "config.json")
        in_time, in_space = self.latent_scale
        patch = config.get("patch_size", [1, 2, 2])
        step = in_space * patch[-1]
        if width % step or height % step or min(width, height) < step:
            raise UserError(f"size = {width}x{height}: both sides should be multiples of {step}")
        if frames < 1 or (frames - 1) % in_time:
            raise UserError(f"frames = {frames}: should be a multiple of {in_time} and one more, as {4 * in_time + 1}")
        return int(config["in_channels"]), (frames - 1) // in_time + 1, height // in_space, width // in_space

    @torch.no_grad()
    def encode_texts(self, texts: list[str]) -> list[Float[Tensor, "512 E"]]:
        """Embeddings of texts, on the CPU, shape [512, E] each.

        Raises:
            UserError: the text encoder was loaded without its words, which some versions of transformers do.
        """
        from diffusers import WanPipeline

        pipeline = _load(
            lambda: WanPipeline.from_pretrained(
                self.folder, transformer=None, vae=None, dtype=self.kind, local_files_only=True
            ),
            self.folder,
        )
        encoder = pipeline.text_encoder
        words, shared = encoder.encoder.embed_tokens.weight, encoder.shared.weight
        if words.shape != shared.shape or not torch.equal(words, shared) or not words.any():
            raise UserError(f"{self.folder}: its text encoder loads without word embeddings; update transformers")
        encoder.to(self.device)
        found = []
        for text in texts:
            embedding, _ = pipeline.encode_prompt(
                text, do_classifier_free_guidance=False, max_sequence_length=TEXT_LENGTH, device=self.device
            )
            found.append(embedding[0].cpu())
        return found

    def transformer(self) -> nn.Module:
        """The transformer on the device, in evaluation mode."""
        from diffusers import WanTransformer3DModel

        model = _load(
            lambda: WanTransformer3DModel.from_pretrained(
                self.folder, subfolder="transformer", dtype=self.kind, local_files_only=True
            ),
            self.folder / "transformer",
        )
        return model.to(self.device).eval()

    def autoencoder(self, tiled: bool = False) -> nn.Module:
        """The video autoencoder on the device, 32-bit; ``tiled`` needs less memory for large frames."""
        from diffusers import AutoencoderKLWan

        model = _load(
            lambda: AutoencoderKLWan.from_pretrained(
                self.folder, subfolder="vae", dtype=torch.float32, local_files_only=True
            ),
            self.folder / "vae",
        )
        if tiled:
            model.enable_tiling()
        return model.to(self.device).eval()


@torch.no_grad()
def decode(
    autoencoder: nn.Module, latents: Float[Tensor, "channels F h w"]
) -> Iterator[Float[Tensor, "height width 3"]]:
    """A view's frames from its latents [channels, F, h, w]: colours in [0, 1], shape [height, width, 3] each."""
    mean, deviation = _statistics(autoencoder, latents.device)
    video = autoencoder.decode((latents.float() * deviation + mean)[None], return_dict=False)[0][0]
    for frame in video.unbind(1):
        yield (frame.permute(1, 2, 0) / 2 + 0.5).clamp(0, 1)


@torch.no_grad()
def encode(autoencoder: nn.Module, video: Float[Tensor, "T height width 3"]) -> Float[Tensor, "channels F h w"]:
    """Latents [channels, F, h, w] of a video [T, height, width, 3], colours in [0, 1]: their mean, nothing is drawn."""
    mean, deviation = _statistics(autoencoder, video.device)
    shown = (2 * video - 1).permute(3, 0, 1, 2)[None]
    return (autoencoder.encode(shown).latent_dist.mode()[0] - mean) / deviation


def _statistics(autoencoder: nn.Module, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation by which the autoencoder's latents are normalised for the transformer, [channels, 1, 1, 1]."""
    config = autoencoder.config
    return tuple(
        torch.tensor(values, dtype=torch.float32, device=device)[:, None, None, None]
        for values in (config.latents_mean, config.latents_std)
    )


def _load(load: Any, path: Path) -> Any:
    """Load a part; raises UserError that names it where that fails."""
    try:
        return load()
    except (OSError, ValueError, KeyError, json.JSONDecodeError, RuntimeError) as error:
        raise UserError(f"{path}: cannot be loaded ({one_line(error)}); download it again") from error
