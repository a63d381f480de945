"""Lamella: run, score and compare segmentation experiments on microscopy images.

A sample flows one way, and so do imports:

    files -> Samples -> audit -> split -> store -> crop -> batch -> augment -> network -> loss / counts
          -> per-image scores -> MLflow run -> report

`data`, `models`, `metrics` and `losses` know nothing of each other; `training.task` joins a network, a loss and counts
for one batch, `evaluation` a segmenter and every measure for whole images, which `inference.whole_images` predicts.
Each file of `commands` is a command that a user types; `commands.setup` turns its configuration into objects, and
nothing below it takes one. `reporting` makes tables and a page of finished runs; only `tracking` knows MLflow.
`docs/house.md` shows the rooms on one page, and a test walks all imports: they go one way.
"""
