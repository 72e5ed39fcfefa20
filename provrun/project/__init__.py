"""Opens a project and wires the rooms; the only place that chooses."""
