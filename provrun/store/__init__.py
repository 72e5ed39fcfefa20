"""The store: the registry's tables, and the only statements that touch them."""
