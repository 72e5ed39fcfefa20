"""Batch jobs, and runs over several hosts: asked for, begun, followed, ended, over."""
