"""From what is asked to molecules, by draws and control."""
