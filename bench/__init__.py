"""Measurements of jaxor against what its users would write instead; not part of the package."""
