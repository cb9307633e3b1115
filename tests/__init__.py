"""The tests: each folder states what one room of the house promises."""
