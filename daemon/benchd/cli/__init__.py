"""The two commands: ``benchctl`` talks to the daemon, ``benchd`` is the daemon."""
