"""Plots made of character cells: pure reductions, frames drawn by plotext, and their widgets.

Nothing here knows what a run is: data comes in as arrays, keys and cells go out as messages.
"""
