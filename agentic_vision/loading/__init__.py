"""Data sets as rows, whatever they call their columns: JSONL, CSV, parquet, and folders that `datasets` makes or reads.

`load_rows("textvqa/", images)` finds the columns of the field's benchmarks by their names; `Columns` names others.
"""

from .load import each_row, load_rows
from .shapes import Columns

__all__ = ["Columns", "each_row", "load_rows"]
