"""The image prior: network, training data, training."""
