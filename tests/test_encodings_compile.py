"""The interpreter takes more than Triton's compiler does: the compiler itself must take every kernel."""

import importlib.util

import pytest
from triton_compiler import compiled_kernels

COMPILE = """
from syncnerf.encodings import fused_mlp_triton, hash_grid_triton, spherical_harmonics_triton

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
    assert compiled_kernels(COMPILE, tmp_path) == 16
