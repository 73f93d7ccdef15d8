"""The page: `headwater serve`. A form becomes a command line, which a worker runs in a folder of its own."""
