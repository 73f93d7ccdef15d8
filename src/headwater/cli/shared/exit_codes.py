"""How a command ends; the same for all commands of all domains.

| code | meaning                                                                          |
|------|----------------------------------------------------------------------------------|
| 0    | done                                                                             |
| 1    | done, but a goal was missed; the first line of the output says how many          |
| 2    | refused: the command, a file or the machine does not allow it; stderr says why   |
| 130  | interrupted by Ctrl-C or SIGTERM; what was done is written                       |
"""

DONE, MISSED, MISUSE, INTERRUPTED = 0, 1, 2, 130
