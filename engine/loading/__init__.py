"""engine.loading"""
