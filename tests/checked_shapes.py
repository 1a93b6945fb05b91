"""Functions check the shapes and types that they state, at their first calls in each test (jaxtyping, beartype).

Imported before any of these modules is: what is imported afterwards is checked. Every module that states shapes is one
of them, but for a few.
"""

import functools
import inspect
import re
import sys
from collections import Counter
from pathlib import Path

import jaxtyping
from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""A whole number will do for a float."""

CHECKED_CALLS = 20
"""Of a function in one test: a training calls thousands of times with the same shapes."""
calls: Counter[str] = Counter()
"""How often each function was called in this test."""

ROOT = Path(__file__).parent.parent
UNCHECKED = {
    "syncnerf.backend": "what a plugin's spec gets wrong is told in one line, which is tested",
    "syncnerf.sync.conventions": "words stand in for cameras",
    "syncnerf.scene.scene": "odd recordings stand in for the cache of frames",
    "syncnerf_kplanes.adapter": "torch compiles the regularisers, and could not compile checks",
    "syncnerf_kplanes.losses": "torch compiles it",
    "syncnerf_kplanes.planes": "torch compiles it",
    "syncnerf_kplanes.hash_features": "torch compiles it",
    "syncnerf_kplanes.plane_lookup_triton": "Triton reads the kernels' source",
    "syncnerf_gaussians.tiles_triton": "Triton reads the kernels' source",
    "syncnerf.encodings.fused_mlp_triton": "Triton reads the kernels' source",
    "syncnerf.encodings.hash_grid_triton": "Triton reads the kernels' source",
    "syncnerf.encodings.spherical_harmonics_triton": "Triton reads the kernels' source",
}
"""Modules that state shapes, and why nobody checks them."""


def module_name(path: Path) -> str:
    """The dotted name of a file of the core or of a plugin."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = (f"syncnerf_{parts[1]}", *parts[2:]) if parts[0] == "plugins" else parts
    return ".".join(parts).removesuffix(".__init__")


FILES = sorted([*(ROOT / "syncnerf").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
STATING = [module_name(path) for path in FILES if re.search(r"^from jaxtyping import", path.read_text(), re.MULTILINE)]
MODULES = [name for name in STATING if name not in UNCHECKED]


def sparing(jaxtyped):
    """jaxtyping's decorator, which prepares a function's checks when it is called, and leaves later calls in a test."""

    def decorator(**options):
        def decorate(function):
            if inspect.isclass(function):
                return jaxtyped(**options)(function)
            checking = functools.cache(lambda: jaxtyped(**options)(function))
            name = f"{function.__module__}.{function.__qualname__}"

            @functools.wraps(function)
            def call(*args, **kwargs):
                calls[name] += 1
                return (checking() if calls[name] <= CHECKED_CALLS else function)(*args, **kwargs)

            return call

        return decorate

    return decorator


assert not any(name in sys.modules for name in MODULES), "imported too late"
jaxtyping.jaxtyped = sparing(jaxtyping.jaxtyped)
jaxtyping.install_import_hook(MODULES, "checked_shapes.checked")
