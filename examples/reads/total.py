"""Add up what the parts counted: one JSON row per aligned part in, one sum out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

with Path(sys.argv[1]).open() as rows:
    counts = [json.loads(row)["result"] for row in rows]
print(json.dumps({key: sum(count[key] for count in counts) for key in ("pairs", "concordant")}))
