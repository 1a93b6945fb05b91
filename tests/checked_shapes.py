"""Functions check the shapes and types that they state, at every call in a test (jaxtyping, beartype).

Imported before any of these modules is: what is imported afterwards is checked.
"""

import sys

from jaxtyping import install_import_hook

MODULES = (
    "syncnerf.clock",
    "syncnerf.photometry",
    "syncnerf.evaluation.metrics",
    "syncnerf.rendering",
    "syncnerf.scene.camera",
    "syncnerf.scene.rays",
    "syncnerf.sync.offsets",
    "syncnerf.sync.solve",
    "syncnerf.sync.uncertainty",
    "syncnerf_kplanes.plane_lookup",
    "syncnerf_mixvoxels.vm_lookup",
)

assert not any(name in sys.modules for name in MODULES), "imported too late"
install_import_hook(MODULES, "beartype.beartype")
