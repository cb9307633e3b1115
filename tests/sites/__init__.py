"""What `engine.sites` and `engine.sites.hooks` promise of every model family."""
