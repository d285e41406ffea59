"""The functional core: no await, clock, file, socket, randomness or logging."""
