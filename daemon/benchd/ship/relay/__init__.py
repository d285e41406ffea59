"""Leads connections on this node to where a service is now. Runs on Python from 3.6 on, alone."""

VERSION = "1"
