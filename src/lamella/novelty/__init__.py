"""Whether a new image is like those that a network was trained on.

`reference.learn` looks at the training and validation images once, at the end of training; a checkpoint keeps what it
found. `collector.Collector` takes an image's bands as they are predicted, and gives a `Judgement`.
"""
