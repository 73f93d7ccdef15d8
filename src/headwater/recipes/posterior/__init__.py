"""Samples of the posterior of the source: Markov chains and randomised optimisation, all chains at once.

The prior of x0 is exactly N(0, I), and its potential is Phi(x0) = misfit(x1(x0)), minus the log likelihood:

    p(x0 | y)  ~  exp(-Phi(x0)) N(x0; 0, I)

    sample.py         `posterior`: all chains of all problems, one step after another
    potential.py      x0 -> x1, Phi and its gradient
    chains.py         the state of the chains, and what a sampler is
    step_length.py    how a chain finds its step length during burn-in
    groups.py         how many chains are stepped at once
    noise.py          one generator per chain
    start.py          where chains begin
    diagnostics.py    split R-hat and effective sample size
    result.py         what is returned
    pcn.py and so on  one sampler each
"""
