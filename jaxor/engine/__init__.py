"""How thousands of seeds are trained at once."""
