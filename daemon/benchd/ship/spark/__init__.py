"""Apache Spark inside one job: it is started on all nodes, drives load generators, and is ended."""

# What the programs on compute nodes say when asked for it.
VERSION = "1"
