"""Generator and regressors: networks, data, training, cards."""
