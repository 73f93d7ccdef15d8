"""`headwater batch`: jobs that are commands, from a table or a folder."""
