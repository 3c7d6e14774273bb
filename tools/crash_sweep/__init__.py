"""Migrations are killed everywhere, and the next one must bring the database to the same end: ``make crash-sweep``.

    __main__.py      the command, and its table
    sweep.py         a point: disturbed, run again, settled if it asks for that, and looked at
    together.py      three runs at once, and a holder of the lock that is killed
    project.py       a user's project with three revisions to come, made with dbp
    databases.py     the engines: a database as it is before these revisions, as often as one is wanted
    looking.py       a whole database as plain data
    children.py      dbp in processes that are forked, for an import takes longer than a migration
    disturbances.py  what befalls them: killed or failing at a place, held up there; or only counted

| kind         | the n-th                                                                    | what happens      |
|--------------|-----------------------------------------------------------------------------|-------------------|
| `operations` | statement, command or commit: before it is sent, and when it was answered    | `os._exit`        |
| `syscalls`   | system call that writes, sends or waits for an answer, by `strace -e inject` | `kill -9`         |
| `lines`      | line of an `upgrade()` or `downgrade()`                                     | an exception      |
"""
