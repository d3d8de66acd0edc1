"""The lumped model of a machine (docs/physics.md): pure numpy functions that broadcast over any shape, SI units inside.

It knows no measurement, no noise and no time but two closed transients; the simulator adds those.
"""
