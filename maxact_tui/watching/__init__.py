"""From the session file to snapshots a screen can draw, and from the user's wishes to the engine."""
