"""Fields: coefficients and solutions of Darcy flow, recovered from 3 % of the points. A domain in one folder.

Everything that the domain needs is here, and what it takes of Headwater are public names:

    data.py      the simulator: random coefficients, and the equation solved for each
    model.py     the network, and the flow from its weights
    train.py     trains it in less than five minutes on one thread of a CPU
    costs.py     the measurement, and the residual of the equation
    rivals.py    guidance in the manner of DiffusionPDE, and Gaussian processes
    recover.py   both fields from 31 points each; what `python -m fields.recover` runs

Run the modules from the folder above, `examples/`: `python -m fields.recover`.
"""
