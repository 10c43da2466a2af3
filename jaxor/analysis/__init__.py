"""What is learned from runs."""
