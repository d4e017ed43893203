"""Identity and smoothness over time: a tracker and one-euro filters.

May import `aios.people` and `aios.geometry`.
"""
