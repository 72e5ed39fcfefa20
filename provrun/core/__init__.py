"""What things are and what is decided: pure, without I/O, clock or SQL."""
