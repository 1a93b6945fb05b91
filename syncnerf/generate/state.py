"""A sampling's state beside the scene that it is to become, so that an interrupted one goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from syncnerf.atomic import atomic_file
from syncnerf.errors import UserError, one_line
from syncnerf.generate.denoising import Progress


@dataclass(frozen=True)
class StateFile:
    """``.<scene>.state.safetensors``, whole at every moment.

    Attributes:
        path: the file.
        settings: everything that decides the result; a state of other settings is refused.
    """

    path: Path
    settings: dict[str, Any]

    @classmethod
    def beside(cls, scene: Path, settings: dict[str, Any]) -> StateFile:
        """The state of a scene that does not exist yet."""
        return cls(scene.with_name(f".{scene.name}.state.safetensors"), settings)

    def save(self, progress: Progress) -> None:
        """Write the state of a step."""
        from safetensors.torch import save_file

        header = {
            "settings": json.dumps(self.settings, sort_keys=True),
            "group": str(progress.group),
            "step": str(progress.step),
        }
        with atomic_file(self.path, "free some space") as partial:
            save_file({"latents": progress.latents.cpu().contiguous()}, partial, header)

    def load(self, noise: Float[Tensor, "V channels F h w"], resume: bool) -> Progress:
        """Where to begin: at the noise, or where an interrupted sampling was.

        Raises:
            UserError: there is a state and ``resume`` was not asked for, or it is damaged or of other settings.
        """
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return Progress(noise)
        if not resume:
            raise UserError(f"{self.path}: an interrupted sampling; continue it with --resume or remove the file")
        try:
            with safe_open(self.path, framework="pt") as file:
                header, latents = file.metadata() or {}, file.get_tensor("latents")
            progress = Progress(latents, int(header["group"]), int(header["step"]))
            settings = json.loads(header["settings"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise UserError(f"{self.path}: is damaged ({one_line(error)}); remove it and start again") from error
        for name in sorted(settings.keys() | self.settings.keys()):
            if settings.get(name) != self.settings.get(name):
                raise UserError(f"{self.path}: was begun with another {name}; give the same, or remove the file")
        if latents.shape != noise.shape:
            raise UserError(f"{self.path}: holds latents of another shape; remove it and start again")
        return progress

    def remove(self) -> None:
        """The scene is complete."""
        self.path.unlink(missing_ok=True)
