"""What the screens say, as lines of text made from a snapshot; nothing here knows Textual's widgets."""
