"""``python -m rootml``: the command line."""

from __future__ import annotations

import sys

from rootml.cli import main

if __name__ == "__main__":
    sys.exit(main())
