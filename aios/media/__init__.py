"""Photos and videos in and out: recognise, decode, orient, convert to sRGB, encode.

May import no other room.
"""
