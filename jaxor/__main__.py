"""``python -m jaxor``."""

from jaxor.cli import main

if __name__ == "__main__":
    main()
