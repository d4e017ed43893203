"""Identity and smoothness over time: a multi-person tracker and one-euro filters.

May import `aios.people` and `aios.geometry`.
"""
