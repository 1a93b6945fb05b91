"""What a field may start from: surfaces at moments, points of the still scene, and tracks through space.

Before a known background, surfaces are carved moment by moment, and what flies too fast for its frames with its
velocity. In a room, stereo of median pictures has the still scene, and what passes before it is carved. Nothing of it
is trained.
"""
