"""Options of fields so small that a step on the CPU takes milliseconds."""

SMALL = {
    "plane_resolution": 8, "plane_scales": "1,2", "plane_channels": 8, "time_resolution": 6, "hidden_width": 16,
    "basis_width": 16, "proposal_samples": "16", "proposal_resolutions": "8", "field_samples": 8,
    "occupancy_resolution": 12, "occupancy_steps": 24, "occupancy_start": 2, "occupancy_every": 2,
    "hash_levels": 3, "hash_table": 9, "hash_coarsest": 4, "hash_finest": 12, "proposal_levels": 2, "proposal_table": 9,
    "grid_resolution": 12, "final_resolution": 12, "distortion_weight": 0.01, "density_weight": 0.01, "time_blur": 2.0,
    "initial_depth": 5.0, "gaussians": 300, "nodes": 20, "moments": 3, "levels_until": 0.0, "relocate_every": 2,
    "relocate_start": 0, "look_every": 1,
}  # fmt: skip
"""Sizes for a test, of whichever backend knows the option."""
VARIANTS = ("field", "sampler", "motion")
"""Options by which a backend is one of several fields."""

KPLANES_OPTIONS = (
    "--plane-resolution=8", "--plane-scales=1,2", "--plane-channels=8", "--time-resolution=6", "--hidden-width=16",
    "--basis-width=16", "--proposal-samples=16", "--proposal-resolutions=8", "--field-samples=8",
    "--occupancy-resolution=16", "--occupancy-steps=24", "--occupancy-start=3", "--occupancy-every=3",
    "--batch-size=64", "--device=cpu",
)  # fmt: skip
"""On the command line, of the backend that is the default."""
MIXVOXELS_OPTIONS = (
    "--backend=mixvoxels", "--grid-resolution=8", "--final-resolution=14", "--upsample-steps=5,8",
    "--density-ranks=4,4,4", "--appearance-ranks=8,4,4", "--variation-ranks=4,4,4", "--hidden-width=16",
    "--query-width=16", "--ray-steps=24", "--mask-resolution=16",
    "--mask-start=3", "--mask-every=2", "--mask-threshold=0.01", "--shrink-step=7", "--variation-steps=2",
    "--dynamic-reach=1", "--dynamic-share=0.5", "--batch-size=48", "--time-frames=5", "--device=cpu",
)  # fmt: skip
GAUSSIANS_OPTIONS = [
    "--backend=gaussians", "--gaussians=400", "--nodes=20", "--moments=3", "--batch-size=256", "--offset-init=zero",
    "--relocate-every=4", "--relocate-start=3", "--look-every=2", "--idle-share=0.5",
]  # fmt: skip
