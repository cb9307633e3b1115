"""The terminal app and the command line: shows sessions. Never imports torch or transformers.

Each room may use those above it in this list, never those below; a test enforces it.

- `texts`      words, numbers and foreign text: made visible, filtered, edited
- `keymap`     what the user can do and with which keys, and the user's settings
- `watching`   from the session file to frozen snapshots, and from wishes to the engine
- `terminal`   colours it can show, bytes it can take, its clipboard, leaving it as it was
- `widgets`    what draws cells: heatmap, lines, plot, list, text with values
- `pages`      what the screens say, as lines and cells made from a snapshot
- `screens`    one module per screen, its layout beside it
- `shell`      the Textual application: opens screens, hands them snapshots
- `cli`        commands, their options, and what they print without a screen
"""
