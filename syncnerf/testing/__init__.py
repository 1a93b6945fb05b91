"""Tests that a plugin's author runs: what every backend must do."""

try:
    import pytest
except ImportError as error:
    raise ImportError("syncnerf.testing needs pytest: pip install 'syncnerf[test]'") from error

# Before they are imported: a failing assertion then shows its values, as in tests of one's own.
pytest.register_assert_rewrite(*(f"syncnerf.testing.{name}" for name in ("answers", "derivatives", "training")))
