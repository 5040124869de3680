"""Loops of the loader in machine code, where llvmlite is installed.

`transpose` turns columns into rows, `pad` gives lists one length, `gather` collects rows from a
buffer. Each says with None or False that it has not done it; then NumPy does the same, to the bit.
Only `inputs` and `rows` call them. Pseudo-code in each module explains the IR that it writes.
"""
