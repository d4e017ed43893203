"""Weight files: find, fetch from the Hub, verify, load strictly.

May import `aios.network` and `aios.resources`.
"""
