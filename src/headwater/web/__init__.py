"""The page: `headwater serve`. A form of the page becomes a command line, which a worker runs in a folder of its own."""
