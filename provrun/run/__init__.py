"""Runs tasks: a manager, agents, and on each agent a spawner with its children."""
