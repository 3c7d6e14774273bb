"""A catalogue of 3,000 synthetic stars, loaded from a CSV file into any engine."""
