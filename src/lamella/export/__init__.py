"""A trained network for other programs: one graph from levels as stored to probabilities, and the files that hold it.

`plain` is that graph as a module, `levels` and `layers` what exporters have to be helped with; `graphs` writes it as
ONNX and for torch.export, `package` for the bioimage.io model zoo; `served` is what MLflow serves.
"""
