"""Photos and videos in and out: decode, orient, convert to RGB, encode.

Imports no other room.
"""
