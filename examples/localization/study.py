"""Submit the study from Python, run what is left of it, and print its averages."""

from __future__ import annotations

from localization import average, ratio, spectrum

import provrun as pr

spectra = pr.map(spectrum, L=[12], W=[0.5, 8], seed=range(100))
ratios = pr.map(ratio, each=spectra)
averages = pr.reduce(average, over=ratios, by=["L", "W"])

averages.run()
for row in averages.results():
    result = row["result"]
    print(f"W={row['params']['W']}: {result['mean']:.3f} +- {result['error']:.3f} over {result['n']} samples")
