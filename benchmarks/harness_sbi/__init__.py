"""What `benchmarks/sbi.py` measures: one problem, and the ways to fit it."""
