"""Data that ships with the package: a small unsynchronised demo scene."""
