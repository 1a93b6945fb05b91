"""The optional packages of this room."""

import importlib.util

from syncnerf.errors import UserError

PACKAGES = ("diffusers", "transformers", "accelerate", "safetensors", "ftfy")


def require_generate() -> None:
    """Raise UserError naming the extra where one of its packages is not installed.

    They are imported inside functions, after this: they take seconds to load, and nothing else needs them.
    """
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise UserError(f"the package {package} is not installed; pip install 'syncnerf[generate]'")
