"""Metrics, protocols, rendered videos and the report of a run."""
