"""Lamella: run, score and compare segmentation experiments on microscopy images.

A sample flows one way, and so do imports:

    files -> Samples -> audit -> split -> store -> crop -> batch -> augment -> network -> loss / counts
          -> per-image scores -> MLflow run

`data`, `models`, `metrics` and `losses` know nothing of each other; `task` joins a network, a loss and counts for
one batch. `experiment` is one run from start to end, and reads its data (`loading`), fits (`fitting`) and describes
itself (`description`) in the modules of these names; `prepare` and `convert` are the other commands. Only these,
`config`, `checkpoint` and `model` know Hydra's configuration, only `tracking` knows MLflow.
"""
