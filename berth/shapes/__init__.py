"""Reads models where they lie, so that a plan counts their real weights: configuration and headers, never the weights.

`read` is the way in for one stack, `Reader` for several in one run. Nothing here fails: what cannot be read becomes a
note, and the planner goes on with the catalogue.
"""

from berth.shapes.reading import TIMEOUT_S, Reader, read

__all__ = ["TIMEOUT_S", "Reader", "read"]
