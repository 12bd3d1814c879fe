"""``python -m kubetune`` and the command ``kubetune``."""

from kubetune.cli import main

if __name__ == "__main__":
    main()
