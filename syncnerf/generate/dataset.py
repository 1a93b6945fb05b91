"""SynCamVideo for training: latents of its videos, encoded once, and embeddings of its captions."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import BFloat16, Float64
from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm

from syncnerf.atomic import atomic_file
from syncnerf.errors import UserError, one_line
from syncnerf.generate.pipeline import WanFolder, encode
from syncnerf.scene import Camera, Scene, load_scene
from syncnerf.scene.syn_cam_video import EXTRINSICS

CACHE = ".syncnerf_latents"
"""Folder of the latents and embeddings, in the data set's own folder."""


@dataclass(frozen=True)
class Clip:
    """One scene of the data set.

    Attributes:
        name: its folder, relative to the data set's.
        caption: what it shows.
        camera_to_world: OpenGL axes, metres, float64, shape [C, 4, 4].
        latents: file of each camera's latents.
        text: file of the caption's embedding.
    """

    name: str
    caption: str
    camera_to_world: Float64[Tensor, "C 4 4"]
    latents: tuple[Path, ...]
    text: Path


def find_scenes(root: Path) -> list[str]:
    """Folders under ``root`` in SynCamVideo's layout, by their names relative to it.

    Raises:
        UserError: there is none.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give SynCamVideo's with --datadir")
    found = sorted(str(path.parent.parent.relative_to(root)) for path in root.rglob(str(EXTRINSICS)))
    if not found:
        raise UserError(f"{root}: holds no {EXTRINSICS} at any depth; is it SynCamVideo (the 2025 release)?")
    return found


def read_captions(path: Path, scenes: list[str]) -> dict[str, str]:
    """Captions by scene from a table with the columns ``scene`` and ``caption``; scenes without one are left out.

    ``scene`` is a folder's name relative to the data set's, or its last part where that is clear.

    Raises:
        UserError: the table is unfit, or names no scene of the data set.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)}); give a csv with scene,caption") from error
    if not rows or not {"scene", "caption"} <= rows[0].keys():
        raise UserError(f"{path}: should be a csv with the columns scene and caption (the data set comes without any)")
    by_last: dict[str, list[str]] = {}
    for scene in scenes:
        by_last.setdefault(Path(scene).name, []).append(scene)
    captions = {}
    for row in rows:
        name, caption = (row["scene"] or "").strip(), (row["caption"] or "").strip()
        matches = [name] if name in scenes else by_last.get(Path(name).name, [])
        if len(matches) > 1:
            raise UserError(
                f"{path}: '{name}' names {len(matches)} scenes ({matches[0]}, {matches[1]}); name one fully"
            )
        if matches and caption:
            captions[matches[0]] = caption
    if not captions:
        raise UserError(f"{path}: names none of the data set's scenes (such as {scenes[0]})")
    return captions


def prepare(
    root: Path, captions: dict[str, str], folder: WanFolder, frames: int, width: int, height: int
) -> list[Clip]:
    """Encode what is not yet cached: captions first, then videos; one part of the model on the device at a time.

    Videos are scaled to cover the size and cropped about their middle, as the released training does.

    Args:
        root: the data set.
        captions: by scene.
        folder: the base model.
        frames: of a clip, 4 k + 1; longer videos are cut.
        width: pixels.
        height: pixels.

    Raises:
        UserError: a scene is unfit or the cache cannot be written.
    """
    folder.latent_shape(frames, width, height)
    cache = root / CACHE / folder.folder.resolve().name
    texts = {name: cache / "texts" / f"{_short(caption)}.safetensors" for name, caption in captions.items()}
    missing = {texts[name]: caption for name, caption in captions.items() if not texts[name].exists()}
    for path, embedding in zip(missing, folder.encode_texts(list(missing.values())) if missing else [], strict=True):
        _save(path, embedding)
    clips, wanted = [], []
    for name, caption in captions.items():
        scene = load_scene(root / name)
        for camera in scene.cameras:
            if camera.frame_count < frames:
                raise UserError(f"{root / name}: {camera.name} has {camera.frame_count} frames, {frames} are wanted")
        keys = [f"{_fingerprint(scene, camera)}|{frames}|{width}x{height}" for camera in scene.cameras]
        paths = tuple(
            cache / name / f"{c.name}-{_short(k)}.safetensors" for c, k in zip(scene.cameras, keys, strict=True)
        )
        poses = torch.stack([camera.pose(0) for camera in scene.cameras])
        clips.append(Clip(name, caption, poses, paths, texts[name]))
        wanted += [
            (scene, camera, path) for camera, path in zip(scene.cameras, paths, strict=True) if not path.exists()
        ]
    if wanted:
        autoencoder = folder.autoencoder()
        for scene, camera, path in tqdm(wanted, desc="encoding videos", unit="video"):
            video = _cropped(scene, camera, frames, width, height)
            _save(path, encode(autoencoder, video.to(folder.device).float() / 255))
    return clips


def _cropped(scene: Scene, camera: Camera, frames: int, width: int, height: int) -> Tensor:
    """A video's first frames, uint8, shape [T, height, width, 3]; nothing but these is in memory."""
    size = camera.intrinsics
    factor = max(width / size.width, height / size.height)
    large = size.resized(max(width, round(size.width * factor)), max(height, round(size.height * factor)))
    left, top = (large.width - width) // 2, (large.height - height) // 2
    video = torch.empty(frames, height, width, 3, dtype=torch.uint8)
    # Enlarged from the video's own size, since decoding averages areas.
    enlarge = large.width > size.width
    for number, image in enumerate(scene.frame_cache.sources[camera.name].decode(size if enlarge else large)):
        if number == frames:
            break
        frame = torch.from_numpy(np.array(image))
        if enlarge:
            shown = frame.permute(2, 0, 1)[None].float()
            shown = interpolate(shown, (large.height, large.width), mode="bicubic", align_corners=False)
            frame = shown[0].permute(1, 2, 0).clamp(0, 255).round().to(torch.uint8)
        video[number] = frame[top : top + height, left : left + width]
    return video


def _fingerprint(scene: Scene, camera: Camera) -> str:
    return scene.frame_cache.sources[camera.name].fingerprint()


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _save(path: Path, tensor: Tensor) -> None:
    """One tensor, in 16 bits, whole or not at all."""
    from safetensors.torch import save_file

    with atomic_file(path, "free some space") as partial:
        save_file({"values": tensor.cpu().bfloat16().contiguous()}, partial)


def load_tensor(path: Path) -> BFloat16[Tensor, "*D"]:
    """Latents or an embedding as :func:`prepare` cached them, bfloat16; raises UserError where they are damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)["values"]
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)}); remove it, it is made anew") from error
