"""``python -m neural_architecture_lab.cli`` is the command ``nal``."""

import sys

from neural_architecture_lab.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
