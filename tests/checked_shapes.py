"""Functions check the shapes and types that they state, at every call in a test (jaxtyping, beartype).

Imported before any of these modules is: what is imported afterwards is checked.
"""

import sys

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""A whole number will do for a float."""

MODULES = (
    "syncnerf.batch",
    "syncnerf.camera_colours",
    "syncnerf.camera_times",
    "syncnerf.clock",
    "syncnerf.clock_prior",
    "syncnerf.encodings.fused_mlp",
    "syncnerf.encodings.hash_grid",
    "syncnerf.encodings.plane_samples",
    "syncnerf.encodings.spherical_harmonics",
    "syncnerf.evaluation.camera_paths",
    "syncnerf.evaluation.metrics",
    "syncnerf.evaluation.offset_errors",
    "syncnerf.evaluation.pictures",
    "syncnerf.evaluation.protocols",
    "syncnerf.evaluation.render_videos",
    "syncnerf.evaluation.videos",
    "syncnerf.evaluation.views",
    "syncnerf.held_out",
    "syncnerf.offset_fit",
    "syncnerf.offsets_file",
    "syncnerf.photometry",
    "syncnerf.pixels",
    "syncnerf.questions",
    "syncnerf.records",
    "syncnerf.rendering",
    "syncnerf.sampling.time_series",
    "syncnerf.scene.camera",
    "syncnerf.scene.forward_facing",
    "syncnerf.scene.geometry",
    "syncnerf.scene.lens",
    "syncnerf.scene.llff_video",
    "syncnerf.scene.origin",
    "syncnerf.scene.placement",
    "syncnerf.scene.points",
    "syncnerf.scene.rays",
    "syncnerf.scene.syn_cam_video",
    "syncnerf.scene.true_offsets",
    "syncnerf.scene.views",
    "syncnerf.scene.visual_hull",
    "syncnerf.seen",
    "syncnerf.splats",
    "syncnerf.sync.blending",
    "syncnerf.sync.cadence",
    "syncnerf.sync.common_interval",
    "syncnerf.sync.consistent",
    "syncnerf.sync.correlation",
    "syncnerf.sync.division",
    "syncnerf.sync.drift",
    "syncnerf.sync.energy",
    "syncnerf.sync.epipolar",
    "syncnerf.sync.frame_products",
    "syncnerf.sync.frame_samples",
    "syncnerf.sync.informative",
    "syncnerf.sync.jumps",
    "syncnerf.sync.landscape",
    "syncnerf.sync.long",
    "syncnerf.sync.offsets",
    "syncnerf.sync.pencils",
    "syncnerf.sync.pulldown",
    "syncnerf.sync.resampling",
    "syncnerf.sync.result",
    "syncnerf.sync.sampson",
    "syncnerf.sync.self_check",
    "syncnerf.sync.solve",
    "syncnerf.sync.track_pairs",
    "syncnerf.sync.tracks",
    "syncnerf.sync.uncertainty",
    "syncnerf.synced",
    "syncnerf.through_rays",
    "syncnerf_kplanes.plane_lookup",
    "syncnerf_kplanes.proposal",
    "syncnerf_mixvoxels.losses",
    "syncnerf_mixvoxels.vm_lookup",
)

assert not any(name in sys.modules for name in MODULES), "imported too late"
install_import_hook(MODULES, "checked_shapes.checked")
