"""What the commands of all domains share; it imports nothing of a domain."""
