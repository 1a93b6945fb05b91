"""What every backend must do: the contract's suite over all that are installed, in every variant of theirs."""

from small_fields import SMALL, VARIANTS

from syncnerf.installed import discover_backends
from syncnerf.testing.contract import BackendContract, every_choice

for name, found in sorted(discover_backends().items()):
    members = {"spec": found, "options": SMALL, "variants": every_choice(found, VARIANTS)}
    globals()[f"Test{name.title()}"] = type(f"Test{name.title()}", (BackendContract,), members)
