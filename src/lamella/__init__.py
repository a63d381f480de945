"""Lamella: run, score and compare segmentation experiments on microscopy images.

A sample flows one way, and so do imports:

    files -> Samples -> audit -> split -> store -> crop -> batch -> augment -> network -> loss / counts
          -> per-image scores -> MLflow run -> report

`data`, `models`, `metrics` and `losses` know nothing of each other; `task` joins a network, a loss and counts for
one batch, `scoring` a network and every measure for whole images. `experiment` is one run from start to end: it reads
its data (`loading`), fits (`fitting`), lets validation decide (`deciding`), judges (`judging`) and describes itself
(`description`) in the modules of these names. `evaluation`, `comparing`, `prepare` and `convert` are the other
commands; `report` makes tables and a page of finished runs. Only these, `config`, `checkpoint` and `model` know
Hydra's configuration, only `tracking` knows MLflow.
"""
