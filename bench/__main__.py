"""``python -m bench [--quick] [--device cpu|gpu]``: run all measurements."""

from bench.throughput import main

if __name__ == "__main__":
    main()
