"""What the masks of a folder mean: as their owner says, or as they show; what is not plain is asked."""
