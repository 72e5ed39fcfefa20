"""The room of questions: what is there, what came of it, where it came from, and why."""
