"""Images: operators, files, metrics, pictures, any size, the prior's network and its training."""
