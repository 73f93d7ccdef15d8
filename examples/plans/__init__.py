"""Plans: paths of a robot through a maze, with moving obstacles and a speed limit. A domain in one folder.

Everything that the domain needs is here, and what it takes of Headwater are public names:

    data.py      the maze, paths through it, and problems that have an answer
    model.py     the network, and the flow from its weights
    train.py     trains it in less than five minutes on one thread of a CPU
    costs.py     start, goal, moving obstacles, speed and walls as residuals; and what a plan breaks
    planner.py   draws of each problem, of which the best is kept
    rivals.py    guidance in the manner of Diffuser, barriers of SafeDiffuser's kind, projections as in DPCC
    plan.py      plans eight problems; what `python -m plans.plan` runs

Run the modules from the folder above, `examples/`: `python -m plans.plan`.
"""
