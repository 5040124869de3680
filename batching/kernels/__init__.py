"""Loops of the loader in machine code, where llvmlite is installed.

`transpose` turns columns into rows, `pad` gives lists one length, `gather` collects rows from a
buffer; each says with None or False that it has not done it, and then NumPy does the same, to the
bit. `permutation` draws those of NumPy. Pseudo-code in each module explains the IR that it writes.
"""
