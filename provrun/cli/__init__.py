"""The face for a person at a terminal."""
