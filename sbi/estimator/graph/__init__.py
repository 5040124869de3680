"""What is evaluated: trained ratios as a graph of a few operations, for NumPy and ONNX.

`_graph`, `_onnx`: the operations, and files of them. `_network`, `_ramps`, `_calibration`,
`_normalisation`, `_weighted`: the parts. `_assemble`: from the parts to one graph.
"""
