"""The terminal itself: colours it can show, bytes it can take, its clipboard, leaving it as it was."""
