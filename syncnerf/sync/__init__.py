"""Synchronisation: per-camera time offsets from motion alone, before any training."""

from syncnerf.sync.result import Check, PairLag, SyncResult
from syncnerf.sync.self_check import only_sure
from syncnerf.sync.synchronize import synchronize

__all__ = ["Check", "PairLag", "SyncResult", "only_sure", "synchronize"]
