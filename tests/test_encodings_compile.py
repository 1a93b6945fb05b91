"""The interpreter takes more than Triton's compiler does: the compiler itself must take every kernel."""

import importlib.util
import os
import subprocess
import sys

import pytest

COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from syncnerf.encodings import fused_mlp_triton, hash_grid_triton, spherical_harmonics_triton

def check(kernel, types, constants):
    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    made = triton.compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", 90, 32))
    assert made.asm["cubin"]

for kind, (dimensions, smooth) in (("*fp32", (2, False)), ("*bf16", (4, True)), ("*fp16", (3, False))):
    shared = {"coordinates": "*fp32", "table": kind, "scales": "*fp32", "records": "*i64", "count": "i32"}
    sizes = {"D": dimensions, "F": 2, "LEVELS": 8, "SMOOTH": smooth, "BLOCK": hash_grid_triton.BLOCK}
    check(hash_grid_triton._forward, shared | {"features": kind}, sizes)
    more = {"upstream": kind, "table_gradient": "*fp32", "coordinate_gradient": "*fp32"}
    check(hash_grid_triton._backward, shared | more, sizes | {"OF_TABLE": True, "OF_COORDINATES": True})
for kind, layers in (("*fp32", 2), ("*fp16", 1), ("*bf16", 2)):
    sizes = fused_mlp_triton._constants(24, 3, [(64, 32), *[(64, 64)] * (layers - 1), (16, 64)])
    shared = {name: kind for name in ("values", "weights", "hidden", "outputs", "upstream", "gradients", "of_values")}
    for kernel, more in ((fused_mlp_triton._forward, {}), (fused_mlp_triton._backward, {"OF_VALUES": True})):
        check(kernel, {k: v for k, v in (shared | {"count": "i32"}).items() if k in kernel.arg_names}, sizes | more)
for kind in ("*fp32", "*fp16"):
    types = {"directions": "*fp32", "values": kind, "upstream": kind, "gradient": "*fp32", "count": "i32"}
    for kernel in (spherical_harmonics_triton._forward, spherical_harmonics_triton._backward):
        check(kernel, {k: v for k, v in types.items() if k in kernel.arg_names}, {"BLOCK": 256})
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_kernels_compile_for_a_gpu(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.rglob("*.cubin"))
