"""Synchronisation: per-camera time offsets from motion alone, before any training."""

from syncnerf.sync.result import Check, PairLag, SyncResult
from syncnerf.sync.self_check import only_sure
from syncnerf.sync.synchronize import initial_offsets, synchronize

__all__ = ["Check", "PairLag", "SyncResult", "initial_offsets", "only_sure", "synchronize"]
