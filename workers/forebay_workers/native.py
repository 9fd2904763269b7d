"""Sets how long idle OpenBLAS threads spin.

After a product, OpenBLAS's threads spin for about 0.1 s while they wait for the next one. They keep
cores busy that could send the product to the caller. OpenBLAS reads the setting when it is loaded,
so this module must be imported before NumPy. A setting of N means 2^N CPU cycles.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")  # 2^20 cycles are about 0.4 ms
