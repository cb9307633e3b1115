"""Words, numbers and foreign text: made visible, filtered, edited."""
