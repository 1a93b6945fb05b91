"""What a field may start from: surfaces at moments, points of the still scene, and tracks through space."""
