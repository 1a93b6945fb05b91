"""Imports other tools' calibrations: read into one common record, matched with videos, written as a scene."""
