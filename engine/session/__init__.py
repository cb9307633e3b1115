"""engine.session"""
