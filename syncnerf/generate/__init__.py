"""Multi-view videos from text on diffusers' Wan, and scores of how synchronous and consistent any views are."""
