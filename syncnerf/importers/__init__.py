"""Calibrations of other tools: read into one record, matched with videos, written as a scene."""
