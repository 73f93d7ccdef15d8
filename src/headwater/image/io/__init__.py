"""Pictures as files: reading, writing, masks."""
