"""Where along rays to sample, how space is warped, and how samples become pixels."""
