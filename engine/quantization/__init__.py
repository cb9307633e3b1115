"""engine.quantization"""
