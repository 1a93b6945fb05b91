"""Encodings and small networks that fields are made of."""
