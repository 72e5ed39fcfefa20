"""Submit the study with so many points; with more of them again, its maps grow."""

from __future__ import annotations

import sys

from work import norm, psi, total

import provrun as pr

OFTEN = 100  # retries: a killed task is its own fault as far as anybody can tell

points = range(int(sys.argv[1]))
scan = pr.submit("scan", ["sh", "work.sh", "{x}"], x=points, retries=OFTEN)
waves = pr.map(psi, seed=points, retries=OFTEN)
pr.submit("gap", ["sh", "work.sh", "{psi.result.value}", "large"], each=waves, retries=OFTEN)
norms = pr.map(norm, each=waves, kind=[0, 1, 2], retries=OFTEN)
pr.reduce(total, over=norms, retries=OFTEN)
pr.submit("table", [sys.executable, "table.py", "{scan.rows}"], all=scan, retries=OFTEN)
