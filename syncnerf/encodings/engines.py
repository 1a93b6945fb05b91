"""What fields run on: torch anywhere, Triton's, tiny-cuda-nn's or gsplat's kernels where they can be had.

All engines compute the same function of the same flat parameters, so a checkpoint trained with one runs with another.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from functools import cache

import torch

from syncnerf.errors import UserError

ENGINES = ("tcnn", "triton", "torch")
"""Those of encodings and small networks, in the order in which ``auto`` tries them."""
PACKAGES = {
    "tcnn": ("tiny-cuda-nn", "tinycudann"),
    "gsplat": ("gsplat", "gsplat"),
}
"""By engine: whose kernels it runs, and the package that brings them."""


def choose_engine(name: str, device: torch.device, known: tuple[str, ...] = ENGINES) -> str:
    """The engine of a name on a device; ``auto`` is the first of those ``known`` to a backend that runs there.

    Raises:
        UserError: it cannot run there; the message says what is missing and what brings it.
    """
    if name == "auto":
        usable = [engine for engine in known if missing(engine, device) is None]
        return usable[0] if device.type == "cuda" else "torch"
    reason = missing(name, device) if name in known else f"there is no such engine, but {', '.join(known)}"
    if reason is not None:
        raise UserError(f"engine = {name}: {reason}; or use --engine auto")
    return name


def missing(engine: str, device: torch.device) -> str | None:
    """What an engine needs before it can run on a device, as a phrase; None where it runs."""
    if engine == "torch":
        return None
    if engine == "triton":
        if importlib.util.find_spec("triton") is None:
            return "the package triton is missing; pip install 'syncnerf[triton]'"
        if device.type != "cuda" and not interpreted():
            return f"Triton's kernels need a CUDA device, this run is on {device.type}"
        return None
    owner, package = PACKAGES[engine]
    if device.type != "cuda":
        return f"{owner}'s kernels need a CUDA device, this run is on {device.type}"
    return _import_failure(package, engine)


def interpreted() -> bool:
    """Whether Triton's kernels run in its interpreter, on the CPU: slow, for tests (``TRITON_INTERPRET=1``)."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


@cache
def _import_failure(package: str, extra: str) -> str | None:
    """Why a package's kernels cannot be imported: they are absent, or were built for another device."""
    if importlib.util.find_spec(package) is None:
        return f"the package {package} is missing; pip install 'syncnerf[{extra}]' (needs the CUDA toolkit)"
    try:
        importlib.import_module(package)
        # gsplat compiles its kernels here, and has none where it could not.
        if package == "gsplat" and importlib.import_module("gsplat.cuda._backend")._C is None:
            return "the package gsplat is there but finds no CUDA toolkit to compile its kernels with"
    except Exception as error:  # it raises what it likes where no kernel fits the device
        return f"the package {package} is there but does not import ({error})"
    return None


def compute_type(device: torch.device) -> torch.dtype:
    """The number type that encodings and small networks answer in: autocast's inside it, else float32."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32
