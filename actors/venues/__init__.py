"""Doors to the places where orders are filled; one folder or file a venue."""
