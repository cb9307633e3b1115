"""What `engine.sites` and `engine.hooks` promise of every model family."""
