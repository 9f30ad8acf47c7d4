"""The engine against plain ways of doing the same: run `python -m benchmarks`.

Only ratios of paired, interleaved rounds with their spread enter here: one absolute time says
nothing on a machine that others use as well.
"""
