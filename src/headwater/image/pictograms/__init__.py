"""Pictures from words: data, networks, training and evaluation of the shipped latent flow `pictograms`."""
