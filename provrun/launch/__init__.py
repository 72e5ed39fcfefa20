"""Schedulers: each dialect is text, one module runs the commands."""
