"""Dynamic radiance fields from multi-camera video whose cameras were not started together."""

__version__ = "0.1.0"
