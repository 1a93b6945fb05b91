"""What every backend must do: the contract's suite over all that are installed, in every variant of theirs."""

from syncnerf.installed import discover_backends
from syncnerf.testing.contract import BackendContract, every_choice

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

for name, found in sorted(discover_backends().items()):
    members = {"spec": found, "options": SMALL, "variants": every_choice(found, VARIANTS)}
    globals()[f"Test{name.title()}"] = type(f"Test{name.title()}", (BackendContract,), members)
