"""Where results live: run directories of immutable shards, and how they are read back."""
