"""What a molecule is: elements, properties with units, formulae, and molecules as states of the flow and as data."""
