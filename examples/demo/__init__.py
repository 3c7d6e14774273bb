"""What `make demo` runs: one program, on SQLite and on MongoDB, with the same output."""
