"""Synchronisation: per-camera time offsets from motion alone, before any training."""

from syncnerf.sync.result import PairLag, SyncResult
from syncnerf.sync.synchronize import initial_offsets, synchronize

__all__ = ["PairLag", "SyncResult", "initial_offsets", "synchronize"]
