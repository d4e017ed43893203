"""Fits of posed bodies to the predicted keypoints of one photo, after the network.

May import `aios.posing`, `aios.people`, `aios.network`, `aios.body`, and `aios.geometry`.
"""
