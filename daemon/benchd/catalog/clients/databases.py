"""What the load generators of databases have in common: who they are, and what the server says."""

from __future__ import annotations

from benchd.catalog.kinds import Parameter

# POSIX sh: the counters of a MySQL or MariaDB, where a client of it lies beside the load generator.
MYSQL_STATUS = r"""note_status() { # FILE; host, port, user and password are known
  client=$(command -v mariadb || command -v mysql) || return 0
  MYSQL_PWD=$password timeout 10 "$client" --no-defaults --host="$host" --port="$port" \
    --user="$user" --batch --skip-column-names --execute="SELECT 'version', VERSION();
      SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'Questions', 'Com_select',
      'Com_insert', 'Com_update', 'Com_delete', 'Com_commit', 'Com_rollback',
      'Com_stmt_execute', 'Slow_queries', 'Aborted_clients', 'Aborted_connects', 'Bytes_sent',
      'Innodb_buffer_pool_reads', 'Innodb_buffer_pool_read_requests', 'Innodb_row_lock_time',
      'Innodb_row_lock_waits', 'Innodb_deadlocks', 'Innodb_data_fsyncs')" \
    >"$dir/$1" 2>/dev/null
}
"""


# POSIX sh: the counters of a database. A backend tells its own when it has ended, and up to
# PostgreSQL 14 they are seen half a second later.
POSTGRES_STATUS = r"""look() { # FILE
  PGAPPNAME=benchd timeout 10 psql --no-psqlrc --quiet --no-align --tuples-only \
    --field-separator="$(printf '\t')" --command="
    SELECT 'running', count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'
    UNION ALL SELECT 'server_version_num', current_setting('server_version_num')::bigint
    UNION ALL SELECT s.name, s.value FROM pg_stat_database d CROSS JOIN LATERAL (VALUES
      ('xact_commit', xact_commit), ('xact_rollback', xact_rollback),
      ('blks_read', blks_read), ('blks_hit', blks_hit), ('tup_returned', tup_returned),
      ('tup_inserted', tup_inserted), ('tup_updated', tup_updated),
      ('tup_deleted', tup_deleted), ('deadlocks', deadlocks), ('temp_bytes', temp_bytes)
    ) AS s (name, value) WHERE d.datname = current_database()" >"$dir/$1" 2>/dev/null
}
note_status() { # FILE
  command -v psql >/dev/null 2>&1 || return 0
  for _ in 1 2 3 4 5; do
    look "$1"
    grep -q '^running.[1-9]' "$dir/$1" || break
    sleep 1
  done
  if grep -Eq '^server_version_num.(9|1[0-4])' "$dir/$1"; then sleep 1 && look "$1"; fi
}
"""


def user(usual: str, others: str) -> Parameter:
    """Return the parameter that says who the client is."""
    return Parameter(
        name="user",
        type="str",
        default=usual,
        pattern=r"[A-Za-z_][A-Za-z0-9_.-]{0,79}",
        doc=f"who it is; {usual} is made by the service, may use its own database and nothing "
        f"else, and has a password of its own; {others}",
    )


def database(usual: str) -> Parameter:
    """Return the parameter that says which database is used."""
    return Parameter(
        name="database",
        type="str",
        default=usual,
        pattern=r"[A-Za-z_][A-Za-z0-9_]{0,62}",
        doc="database in which its tables are made, and dropped in the end",
    )
