"""The compiled part: vector code in numba, called through plain C addresses.

Nothing in here knows about studies, candidates' names or torch; nothing outside imports numba.
"""
