"""The session file: one run, one SQLite file, and the only channel for results and commands.

- `records`   Status, Event, Command, SampleRecord, LiveTable: frozen records that cross the boundary
- `schema`    tables, version, journal mode, opening and creating; `SessionError`
- `splits`    which samples calibrate and evaluate, and where their arrays are
- `codec`     numpy arrays <-> compact blobs
- `maxima`    per-sample maxima, some sites at a time
- `writer`    `SessionWriter`: what the engine writes
- `reader`    `SessionReader`: what everything else reads; `send_command`
- `liveness`  whether the engine of a session is alive
- `library`   where sessions live, what they are called
- `listing`   which sessions there are

Needs numpy and sqlite3 only.
"""
