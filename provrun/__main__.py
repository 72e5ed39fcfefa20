"""`python -m provrun` is `provrun`."""

from __future__ import annotations

import sys

from provrun.cli.main import main

sys.exit(main())
