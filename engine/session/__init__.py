"""The session file: one run, one SQLite file, and the only channel for results and commands.

- `records`   Status, Event, Command, SampleRecord, LiveTable: frozen records that cross the boundary
- `schema`    tables, version, journal mode, opening and creating; `SessionError`, `DamagedError`
- `splits`    which samples calibrate and evaluate, and where their arrays are
- `codec`     numpy arrays <-> compact blobs
- `damage`    the border: what cannot be read becomes a `DamagedError`
- `maxima`    per-sample maxima, some sites at a time
- `writer`    `SessionWriter`: what the engine writes
- `writing`   the same as somebody else than the engine, with patience
- `rows`      what is read from the tables of rows: `SessionMeta`, status, samples, events
- `reader`    `SessionReader`: that and the numbers, what everything else reads
- `patience`  waiting for a file that another process is writing
- `requests`  asking the engine for something, and where each request stands
- `outbox`    requests on their way, written by a thread
- `lastword`  what an engine could only write into its log
- `liveness`  whether the engine of a session is alive, and why it ended
- `engine_lock`  one engine per session: a lock that is held as long as it lives
- `logfile`   the engine's log, never what somebody has put in its place
- `library`   where sessions live, what they are called
- `listing`   which sessions there are

Needs numpy and sqlite3 only.
"""
