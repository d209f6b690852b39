"""The loop and what surrounds it: runs, their folders, checkpoints, processes."""
