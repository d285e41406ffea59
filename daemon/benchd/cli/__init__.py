"""The two programs: ``benchctl`` (ctl) and ``benchd`` (daemon)."""
