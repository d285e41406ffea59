"""What the daemons of the testbed read and how each one is started: texts and argument lists.

What is written here was found by trial on Slurm 22.05 (Debian 12); each unusual line says why.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MUNGE_KEY_BYTES = 1024  # what create-munge-key makes
JWT_KEY_BYTES = 32  # of HS256
DOOR = "door-"  # how the names of further login nodes begin (door.py)
NULL_DEVICE = os.makedev(1, 3)  # fake GPUs are clones of /dev/null


@dataclass(frozen=True)
class Options:
    """What may differ from one testbed to the next."""

    nodes: int = 4
    cpus: int = 2
    memory_mb: int = 2000
    gpus: int = 2
    accounting: bool = True
    min_job_age_s: int = 300  # how long slurmctld remembers a finished job
    max_sessions: int = 10  # sshd's own default
    tokens: bool = False  # JSON web tokens are accepted, and slurmrestd may be started
    extra_conf: str = ""  # appended to slurm.conf


@dataclass
class Plan:
    """Where everything of one testbed is: written to DIR/testbed.json, read by every command."""

    dir: str
    user: str
    host: str
    ports: dict[str, int]
    options: Options = field(default_factory=Options)

    @property
    def slurmds(self) -> list[str]:
        """The names of the node daemons."""
        return [f"slurmd-n{i}" for i in range(1, self.options.nodes + 1)]

    @property
    def extras(self) -> list[str]:
        """The daemons that are started only when somebody needs them."""
        return ["slurmrestd"] if self.options.tokens else []

    @property
    def daemons(self) -> list[str]:
        """All daemons, in the order in which they start."""
        accounting = ["mariadbd", "slurmdbd"] if self.options.accounting else []
        return ["munged", *accounting, "slurmctld", *self.slurmds, "sshd"]


def command(plan: Plan, name: str) -> list[str]:
    """Return how a daemon is started: always in the foreground, so that its pid is known."""
    d = plan.dir
    if name.startswith(DOOR):
        return ["sshd", "-D", "-e", "-f", f"{d}/{name}/sshd_config"]
    if name.startswith("slurmd-"):
        return ["slurmd", "-D", "-N", name.removeprefix("slurmd-"), "-f", f"{d}/slurm.conf"]
    munge = ["munged", "-F", "--force"]  # --force: a group-writable parent such as /dev/shm is fine
    munge += [f"--{k}={d}/munge/munge.{v}" for k, v in (("key-file", "key"), ("socket", "sock"))]
    munge += [f"--pid-file={d}/munge/munged.pid", f"--log-file={d}/log/munged.log"]
    munge += [f"--seed-file={d}/munge/munged.seed"]
    return {
        "munged": munge,
        "mariadbd": ["mariadbd", f"--defaults-file={d}/mysql/my.cnf"],
        "slurmdbd": ["slurmdbd", "-D"],
        "slurmctld": ["slurmctld", "-D", "-f", f"{d}/slurm.conf"],
        "sshd": ["sshd", "-D", "-e", "-f", f"{d}/ssh/sshd_config"],
        # It refuses to work as root or as SlurmUser, and SLURM_JWT=daemon is how it is told that
        # it has no token of its own.
        "slurmrestd": [
            *("env", "SLURM_JWT=daemon", "slurmrestd", "-u", "nobody", "-g", "nogroup"),
            *("-a", "rest_auth/jwt", f"127.0.0.1:{plan.ports.get('slurmrestd')}"),
        ],
    }[name]


def write(plan: Plan) -> None:
    """Write keys and configuration files for every daemon."""
    d = Path(plan.dir)
    folders = ["munge", "state", "log", "pids", "dev", "ssh", "mysql", "work"]
    for folder in [*folders, *(f"spool/n{i}" for i in range(1, plan.options.nodes + 1))]:
        (d / folder).mkdir(parents=True, exist_ok=True)
    _write(d / "munge" / "munge.key", secrets.token_bytes(MUNGE_KEY_BYTES), 0o600)
    _write(d / "gres.conf", _gres(plan), 0o644)
    _write(d / "slurm.conf", _slurm_conf(plan), 0o644)
    _write(d / "cgroup.conf", _cgroup_conf(), 0o644)
    if plan.options.tokens:
        _write(d / "jwt.key", secrets.token_bytes(JWT_KEY_BYTES), 0o600)
    if plan.options.accounting:
        password = secrets.token_hex(16)
        _write(d / "slurmdbd.conf", _slurmdbd_conf(plan, password), 0o600)  # or it refuses to start
        _write(d / "mysql" / "my.cnf", _my_cnf(plan), 0o600)
        _write(d / "mysql" / "seed.sql", _seed_sql(password), 0o600)
    _write_ssh(plan)
    names = {
        "SLURM_CONF": d / "slurm.conf",
        "TESTBED_DIR": d,
        "TESTBED_SSH_HOST": "127.0.0.1",
        "TESTBED_SSH_PORT": plan.ports["sshd"],
        "TESTBED_SSH_USER": plan.user,
        "TESTBED_SSH_KEY": d / "ssh" / "id_ed25519",
        "TESTBED_SSH_KNOWN_HOSTS": d / "ssh" / "known_hosts",
        "TESTBED_WORKDIR": d / "work",
    }
    _write(d / "env.sh", "".join(f"export {k}={v}\n" for k, v in names.items()), 0o644)


def _write(path: Path, data: str | bytes, mode: int) -> None:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(mode)


def _nodes(plan: Plan) -> str:
    return f"n[1-{plan.options.nodes}]"


def _gres(plan: Plan) -> str:
    """Describe the fake GPUs.

    A bare Count= is registered as 0 and makes the node invalid: File= must name character devices.
    Root makes clones of /dev/null, whose trailing digit becomes CUDA_VISIBLE_DEVICES; a plain user
    (or a file system without devices) takes harmless ones that exist everywhere.
    """
    count = plan.options.gpus
    if not count:
        return ""
    devices = [Path(plan.dir) / "dev" / f"gpu{i}" for i in range(count)]
    with contextlib.suppress(PermissionError):
        for device in devices:
            os.mknod(device, stat.S_IFCHR | 0o666, NULL_DEVICE)
    prefix = f"{plan.dir}/dev/gpu" if devices[-1].exists() else "/dev/tty"
    return f"NodeName={_nodes(plan)} Name=gpu Type=a100 File={prefix}[0-{count - 1}]\n"


def _cgroup_conf() -> str:
    """Turn cgroups off where Slurm would use them unasked: 23.11 and newer.

    Older ones do not know the word and refuse the file.
    """
    slurmd = shutil.which("slurmd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    argv = [slurmd or "slurmd", "-V"]  # the only program that tells without a slurm.conf
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    year, month = (int(part) for part in told.split()[-1].split(".")[:2])
    return "CgroupPlugin=disabled\n" if (year, month) >= (23, 11) else ""


def _accounting(plan: Plan) -> str:
    if not plan.options.accounting:
        return "AccountingStorageType=accounting_storage/none"
    # AccountingStoragePass is the munge socket: without it the link to slurmdbd uses the
    # system's munge and fails with "Protocol authentication error".
    return f"""AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={plan.ports["slurmdbd"]}
AccountingStoragePass={plan.dir}/munge/munge.sock
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment,job_script"""


def _tokens(plan: Plan) -> str:
    """Return what lets slurmctld and slurmdbd accept JSON web tokens."""
    if not plan.options.tokens:
        return ""
    return f"AuthAltTypes=auth/jwt\nAuthAltParameters=jwt_key={plan.dir}/jwt.key"


def _slurm_conf(plan: Plan) -> str:
    d, o = plan.dir, plan.options
    gres = f" Gres=gpu:a100:{o.gpus}" if o.gpus else ""
    nodes = "\n".join(
        f"NodeName={name.removeprefix('slurmd-')} NodeHostname={plan.host} NodeAddr=127.0.0.1"
        f" Port={plan.ports[name]} CPUs={o.cpus} RealMemory={o.memory_mb}{gres} State=UNKNOWN"
        for name in plan.slurmds
    )
    accounting = _accounting(plan)
    return f"""ClusterName=testbed
SlurmctldHost={plan.host}(127.0.0.1)
SlurmctldPort={plan.ports["slurmctld"]}
SlurmUser={plan.user}
SlurmdUser={plan.user}
AuthType=auth/munge
AuthInfo=socket={d}/munge/munge.sock
{_tokens(plan)}
CredType=cred/munge
MailProg=/bin/true
# loopback only
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={d}/state
SlurmdSpoolDir={d}/spool/%n
SlurmctldPidFile={d}/pids/slurmctld.own
SlurmdPidFile={d}/pids/slurmd-%n.own
SlurmctldLogFile={d}/log/slurmctld.log
SlurmdLogFile={d}/log/slurmd.%n.log
SwitchType=switch/none
MpiDefault=none
# no cgroups: a container or a laptop may not offer them; memory limits are not enforced
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
# nodes may claim more CPUs and memory than this machine has
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,bf_continue
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PriorityType=priority/multifactor
DefMemPerCPU=100
GresTypes=gpu
MaxArraySize=20001
MinJobAge={o.min_job_age_s}
KillWait=2
MessageTimeout=10
SlurmctldTimeout=120
SlurmdTimeout=60
BatchStartTimeout=10
JobCompType=jobcomp/none
{accounting}
{nodes}
PartitionName=debug Nodes={_nodes(plan)} Default=YES MaxTime=INFINITE DefaultTime=60 State=UP
PartitionName=short Nodes=n1 MaxTime=5 State=UP
PartitionName=down Nodes=n1 MaxTime=INFINITE State=DOWN
{o.extra_conf}
"""


def _slurmdbd_conf(plan: Plan, password: str) -> str:
    d = plan.dir
    return f"""AuthType=auth/munge
AuthInfo=socket={d}/munge/munge.sock
{_tokens(plan)}
DbdHost={plan.host}
DbdAddr=127.0.0.1
DbdPort={plan.ports["slurmdbd"]}
SlurmUser={plan.user}
DebugLevel=info
LogFile={d}/log/slurmdbd.log
PidFile={d}/pids/slurmdbd.own
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={plan.ports["mariadbd"]}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
"""


def _my_cnf(plan: Plan) -> str:
    d = plan.dir
    return f"""[mysqld]
datadir={d}/mysql/data
socket={d}/mysql/mysqld.sock
pid-file={d}/mysql/mysqld.pid
log-error={d}/log/mariadbd.log
init-file={d}/mysql/seed.sql
port={plan.ports["mariadbd"]}
bind-address=127.0.0.1
user={plan.user}
skip-name-resolve
max_connections=64
performance_schema=OFF
# small, and safe only because nothing in here outlives the machine
innodb_buffer_pool_size=32M
innodb_log_file_size=16M
innodb_flush_log_at_trx_commit=0
innodb_flush_method=nosync
innodb_doublewrite=0
# what slurmdbd asks for
innodb_lock_wait_timeout=900
"""


def _seed_sql(password: str) -> str:
    """Return what MariaDB runs at every start: one statement per line, harmless when repeated."""
    return f"""CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE USER IF NOT EXISTS slurm@'127.0.0.1' IDENTIFIED BY '{password}';
GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1';
"""


def install_database(plan: Plan, env: dict[str, str]) -> None:
    """Make MariaDB's data directory, the slow part of a fresh testbed."""
    if Path(plan.dir, "mysql", "data", "mysql").exists():
        return
    argv = ["mariadb-install-db", f"--defaults-file={plan.dir}/mysql/my.cnf", "--skip-test-db"]
    with Path(plan.dir, "log", "mariadb-install.log").open("wb") as log:
        subprocess.run(argv, env=env, stdout=log, stderr=log, check=True)


def _write_ssh(plan: Plan) -> None:
    d = Path(plan.dir) / "ssh"
    for key in ("host_ed25519", "id_ed25519"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "testbed", "-f", str(d / key)]
        subprocess.run(argv, check=True)
    shutil.copy(d / "id_ed25519.pub", d / "authorized_keys")
    algorithm, key, *_ = (d / "host_ed25519.pub").read_text().split()
    known = f"[127.0.0.1]:{plan.ports['sshd']} {algorithm} {key}\n"
    _write(d / "known_hosts", known, 0o644)
    _write(d / "sshd_config", sshd_config(plan, d, plan.ports["sshd"]), 0o644)


def _path() -> dict[str, str]:
    """Return the login node's PATH where our Slurm is not the one that sshd's own PATH finds."""
    usual = "/usr/local/bin:/usr/bin:/bin:/usr/games"
    ours = shutil.which("sbatch")
    if ours is None or shutil.which("sbatch", path=usual) == ours:
        return {}
    return {"PATH": f"{Path(ours).parent}:{usual}"}


def sshd_config(
    plan: Plan,
    home: Path,
    port: int,
    *,
    settings: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Return the configuration of a login node whose keys lie in ``home``.

    ``settings`` come first: of the lines that say the same, sshd takes the first.
    """
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # privilege separation, compiled in
    known = {"SLURM_CONF": f"{plan.dir}/slurm.conf", "SHLVL": "1", **_path(), **(environment or {})}
    first = "".join(f"{name} {value}\n" for name, value in (settings or {}).items())
    return f"""{first}Port {port}
ListenAddress 127.0.0.1
HostKey {home}/host_ed25519
PidFile {home}/sshd.pid
AuthorizedKeysFile {home}/authorized_keys
# it walks up to / and refuses a group-writable parent such as /tmp
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxSessions {plan.options.max_sessions}
UseDNS no
PrintMotd no
LogLevel VERBOSE
# Only the first SetEnv line counts. SHLVL=1 makes bash skip ~/.bashrc, which can cost 0.1 s or
# print things; what login nodes print is tested elsewhere, on purpose.
SetEnv {" ".join(f"{name}={value}" for name, value in known.items())}
Subsystem sftp internal-sftp
"""
