"""Find out what code, environment and host make a result."""
