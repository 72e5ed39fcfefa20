"""Turns what a user asks for into a map and its tasks; stores nothing itself."""
