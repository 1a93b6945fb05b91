"""What a run of Gaussians leaves: a ``.ply`` per moment, and the whole model as safetensors."""

import json
from pathlib import Path

import torch
from tqdm import tqdm

from syncnerf.assembly import assemble
from syncnerf.errors import UserError
from syncnerf.export.ply import write_ply
from syncnerf.job import Job
from syncnerf.options import parse
from syncnerf.splats import HasSplats
from syncnerf.synced import SyncedBackend
from syncnerf.training.checkpoints import choose_checkpoint
from syncnerf.training.trainer import restore_model

MODEL, MOMENTS = "model.safetensors", "moments.json"
LEAST_OPACITY = 1 / 255
"""Fainter Gaussians show in no picture, and are left out of a moment."""


def write_splats(run: Path, datadir: Path, moments: int, folder: Path) -> list[str]:
    """Write ``<number>.ply`` of moments spread evenly over what the reference camera filmed, and the model.

    ``moments.json`` holds their times in seconds, as the reference's clock shows them. Places are those of the scene's
    own files. ``model.safetensors`` holds all parameters, with the run's options in its metadata.

    Args:
        run: folder of a run of a backend that is made of Gaussians.
        datadir: its scene.
        moments: number of them; 0 for the reference camera's frames.
        folder: to be made.

    Returns:
        Notes, one line each.

    Raises:
        UserError: there is no such run, it is of another scene, its backend has no Gaussians, or the extra ``splats``
            is missing.
    """
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise UserError(f"{run}: a model needs safetensors ({error}); pip install 'syncnerf[splats]'") from error
    job, synced = restored(run, datadir)
    backend, scene, clock, step = synced.backend, job.scene, synced.clock, job.checkpoint.record["step"]
    if not isinstance(backend, HasSplats):
        raise UserError(f"{run}: is a run of {job.spec.name}, which has no Gaussians; --splats needs one that has")
    own = scene.cameras[scene.reference].frame_times
    seconds = own if not moments else torch.linspace(float(own[0]), float(own[-1]), moments, dtype=torch.float64)
    folder.mkdir()
    entries, most = [], 0
    with torch.no_grad():
        for number, time in enumerate(tqdm(seconds.tolist(), desc="splats", unit="moment", leave=False)):
            at = clock.moments(torch.tensor(time, dtype=torch.float64))
            splats = backend.splats(at).seen(LEAST_OPACITY).moved(torch.as_tensor(scene.origin))
            name = f"{number:06d}.ply"
            write_ply(folder / name, splats)
            entries.append({"file": name, "seconds": time, "coordinate": float(at), "gaussians": len(splats)})
            most = max(most, len(splats))
    (folder / MOMENTS).write_text(
        json.dumps({"unit": "seconds", "reference": scene.names[scene.reference], "moments": entries}, indent=1) + "\n",
        encoding="utf-8",
    )
    tensors = {name: values.detach().cpu().contiguous() for name, values in synced.state_dict().items()}
    about = {"backend": job.spec.name, "step": str(step), "cameras": json.dumps(scene.names)}
    save_file(tensors, folder / MODEL, metadata={**about, "config": (run / "config.txt").read_text(encoding="utf-8")})
    return [f"{len(entries)} moments of at most {most} Gaussians from step {step}"]


def restored(run: Path, datadir: Path) -> tuple[Job, SyncedBackend]:
    """A run's job and its model as the newest checkpoint has it, on the CPU; raises UserError.

    The scene's frames are decoded, to see that it is the run's.
    """
    described = run / "config.txt"
    if not described.is_file():
        raise UserError(f"{run}: holds no config.txt; --splats should name the folder of a run")
    checkpoint = choose_checkpoint("", run / "checkpoints")
    # What the run began with may have gone since; the checkpoint knows all that came of it.
    own = [f"--datadir={datadir}", "--device=cpu", "--offset-init=zero", f"--ckpt={checkpoint}"]
    job = Job.of(parse([f"--config={described}", *own])).begun()
    job.scene.frame_cache.prepare(job.scene.cameras)
    job.check_scene()
    synced = assemble(job)
    restore_model(synced, job.checkpoint)
    return job, synced
