"""Apache Spark inside one job: it is started on all nodes, drives load generators, and is ended."""
