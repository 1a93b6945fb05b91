"""Small C kernels, compiled once with the machine's own C compiler and loaded with ctypes.

They only make things faster: where there is no compiler, the plain-torch twins do the same.
"""

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped
from torch.autograd import forward_ad

from syncnerf.atomic import atomic_file
from syncnerf.errors import UserError

logger = logging.getLogger(__name__)

DISABLE_VARIABLE = "SYNCNERF_NATIVE"
FLAGS = ["-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fopenmp", "-fPIC", "-shared", "-std=c11"]


def compile_native(
    source: Path, headers: Sequence[Path] = (), twin: str = "several times slower"
) -> ctypes.CDLL | None:
    """Compile a C file into the user's cache (once per content and machine) and load it.

    Args:
        source: the file.
        headers: those of its own that it includes.
        twin: what running as plain torch is like, for the line in the log where that has to do.

    Returns:
        None, with that line, where there is no C compiler or the compilation fails; and without it where the
        environment says ``SYNCNERF_NATIVE=0``.
    """
    if os.environ.get(DISABLE_VARIABLE) == "0":
        return None
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        logger.warning("%s runs as plain torch, %s: no C compiler (cc)", source.stem, twin)
        return None
    runtime = _torch_openmp()
    command = [compiler, *FLAGS, *runtime]
    content = b"".join(path.read_bytes() for path in (source, *headers))
    key = hashlib.sha256(" ".join(command).encode() + content + _processor().encode()).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    library = home / "syncnerf" / "kernels" / f"{source.stem}-{key}.so"
    try:
        if not library.exists():
            with atomic_file(library) as partial:
                build = [compiler, *FLAGS, str(source), "-o", str(partial), *runtime, "-lm"]
                subprocess.run(build, check=True, capture_output=True)
        return ctypes.CDLL(str(library))
    except (OSError, UserError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", b"") or str(error).encode()).decode(errors="replace").splitlines()
        reason = next((line for line in said if "error" in line), said[0] if said else "no reason given")
        logger.warning("%s runs as plain torch, %s: compiling it failed (%s)", source.stem, twin, reason)
        return None


def kernel_takes(*tensors: Shaped[torch.Tensor, " ..."]) -> bool:
    """Whether tensors of any shape are 32-bit floats on a CPU, without forward derivatives: kernels know none."""
    floats = all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
    return floats and all(forward_ad.unpack_dual(tensor).tangent is None for tensor in tensors)


def address(array: Shaped[np.ndarray, " ..."]) -> ctypes.c_void_p:
    """Where an array begins, as an argument of a kernel; keeps the array alive as long as itself."""
    return array.ctypes.data_as(ctypes.c_void_p)


def addresses(tensors: Iterable[Shaped[torch.Tensor, " ..."]]) -> ctypes.Array:
    """Where contiguous tensors begin, as an array of pointers for a kernel; the caller keeps the tensors alive."""
    pointers = [tensor.data_ptr() for tensor in tensors]
    return (ctypes.c_void_p * len(pointers))(*pointers)


def useful_threads(points: int, each: int, gradient_numbers: int = 0) -> int:
    """As many threads as torch uses, fewer where there is too little work for each.

    Args:
        points: that a kernel answers for, or rays.
        each: how many of them are worth a thread.
        gradient_numbers: length of the gradient that each thread of a backward pass sums up by itself: beyond some
            length, clearing and adding those costs more than it saves. 0 where there is none.
    """
    useful = points // each
    if gradient_numbers:
        useful = min(useful, 64 * points // gradient_numbers + 1)
    return max(1, min(torch.get_num_threads(), useful))


def _torch_openmp() -> list[str]:
    """Linker arguments for the OpenMP runtime that torch itself uses.

    A second runtime would bring a second pool of threads, and the idle one of the two spins on the cores that the busy
    one needs.
    """
    folders = [Path(torch.__file__).parent / "lib", Path(torch.__file__).parent.parent / "torch.libs"]
    for folder in folders:
        for candidate in sorted(folder.glob("libgomp*.so*")):
            return [str(candidate), f"-Wl,-rpath,{folder}"]
    return []


def _processor() -> str:
    """What ``-march=native`` depends on: a cache on a shared disk must not serve another kind of machine."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return os.uname().machine
    return next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
