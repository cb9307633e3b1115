"""What the user can do and with which keys: one table, from which bindings, footer, help and palette come."""
