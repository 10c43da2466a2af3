"""``python -m jaxor``."""

from jaxor.cli import main

main()
