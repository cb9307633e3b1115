"""What `engine.loading` promises."""
