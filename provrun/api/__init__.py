"""The Python face of provrun; its names stand in `provrun` itself."""
