"""HTTP over the Unix socket, and the read-only part of it on TCP."""
