"""Measurements of jaxor, by itself and beside what its users would write instead; not part of the package."""
