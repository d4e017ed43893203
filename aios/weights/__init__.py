"""Weight files: find them, fetch them from the Hub, check them, load them strictly.

May import `aios.network`.
"""
