"""Kernels made for a GPU by Triton's own compiler, which takes less than its interpreter does; this needs no GPU."""

import os
import subprocess
import sys
from pathlib import Path

BEGIN = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

def check(kernel, types, constants):
    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    made = triton.compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", 90, 32))
    assert made.asm["cubin"]
"""


def compiled_kernels(code: str, folder: Path) -> int:
    """How many kernels are compiled by a program that calls ``check(kernel, types of its arguments, constants)``.

    In a process of its own: Triton is told to interpret before it is imported.
    """
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(folder)
    done = subprocess.run([sys.executable, "-c", BEGIN + code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return len(list(folder.rglob("*.cubin")))
