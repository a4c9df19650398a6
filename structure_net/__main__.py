"""``python -m structure_net`` is the command ``structure-net``."""

import sys

from structure_net.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
