"""The music prior: its space, network, training and card."""
