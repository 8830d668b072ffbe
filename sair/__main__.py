"""Run the command as ``python -m sair``."""

import sys

from sair.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
