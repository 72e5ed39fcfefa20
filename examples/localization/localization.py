"""Level statistics of the disordered Heisenberg chain, from ergodic to localized.

The chain of L spins 1/2 with periodic boundary,

    H = sum_i S_i . S_{i+1} + sum_i h_i S^z_i,    h_i uniform in [-W, W],

keeps its magnetisation; this is the sector where it vanishes. Three steps lead to a published number: the energies in
the middle of the spectrum, the mean ratio of neighbouring gaps in each of them, and its average over the disorder.
Weak disorder repels levels like random real symmetric matrices, with a mean ratio of 0.5307; strong disorder leaves
them independent, with 2 ln 2 - 1 = 0.3863 (Oganesyan and Huse 2007; Atas, Bogomolny, Giraud and Roux 2013).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from quspin.basis import spin_basis_1d
from quspin.operators import hamiltonian


def spectrum(L: int, W: float, seed: int) -> NDArray[np.float64]:
    """Diagonalize one sample and give the middle third of its energies, ascending, in units of the coupling."""
    fields = np.random.default_rng(seed).uniform(-W, W, L)
    bonds = [[1.0, site, (site + 1) % L] for site in range(L)]
    terms = [["xx", bonds], ["yy", bonds], ["zz", bonds], ["z", [[field, site] for site, field in enumerate(fields)]]]
    sector = spin_basis_1d(L, Nup=L // 2, pauli=False)
    unchecked = {"check_herm": False, "check_pcon": False, "check_symm": False}
    energies = hamiltonian(terms, [], basis=sector, dtype=np.float64, **unchecked).eigvalsh()
    third = len(energies) // 3
    return energies[third : len(energies) - third]


def ratio(spectrum: NDArray[np.float64]) -> dict[str, float]:
    """Give the mean over neighbouring gaps of the smaller one divided by the larger one."""
    gaps = np.diff(spectrum)
    ratios = np.minimum(gaps[1:], gaps[:-1]) / np.maximum(gaps[1:], gaps[:-1])
    return {"r": float(ratios.mean())}


def average(r: Sequence[float]) -> dict[str, float]:
    """Average over the disorder: the mean, its standard error, and over how many samples."""
    samples = np.asarray(r)
    return {"mean": float(samples.mean()), "error": float(samples.std(ddof=1) / len(samples) ** 0.5), "n": len(samples)}
