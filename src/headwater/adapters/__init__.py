"""Models and operators of other libraries as a `Flow` or an `Operator`, one file a library."""
