"""Writes golden.csv: optimal totals of random instances, for optimal_test.go.

python3 golden.py > golden.csv    (SciPy 1.17.1, NumPy with it)
"""
import numpy as np
from scipy.optimize import linear_sum_assignment

MASK = (1 << 64) - 1


def instance(seed, rows, cols, forbidden):
    """Costs of 24 bits in 1/256, so that sums are exact; `forbidden` of 16 are infinite."""
    x, cost = seed, np.empty(rows * cols)
    for k in range(rows * cols):
        x = (x * 6364136223846793005 + 1442695040888963407) & MASK
        cost[k] = np.inf if (x >> 36) % 16 < forbidden else (x >> 40) / 256
    return cost.reshape(rows, cols)


print("seed,rows,cols,forbidden,total")
sides = [(8, 8), (10, 20), (20, 10), (20, 20), (40, 20), (50, 51), (100, 100), (30, 200), (200, 30), (200, 200), (300, 250)]
seed = 0
for rows, cols in sides:
    for forbidden in (0, 3, 14):
        for _ in range(4):
            seed += 1
            cost = instance(seed, rows, cols, forbidden)
            try:
                i, j = linear_sum_assignment(cost)
            except ValueError:
                print(f"{seed},{rows},{cols},{forbidden},infeasible")
                continue
            print(f"{seed},{rows},{cols},{forbidden},{cost[i, j].sum()!r}".replace("np.float64(", "").replace(")", ""))
