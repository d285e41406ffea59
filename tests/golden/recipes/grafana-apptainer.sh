#!/bin/bash
#SBATCH --no-requeue
#SBATCH --cpus-per-task=1
#SBATCH --mem=2G
#SBATCH --time=04:00:00
# Job bq7x2m-k5wz3tqa2f-s-grafana-p0r0-0-a1, written by benchd. Arguments: the job's directory, the number of the try.
# shellcheck disable=SC2016,SC2317,SC2329 # quotes are meant; traps call
set -u
JOB=${1:-} TRY=${2:-}
ID=${SLURM_JOB_ID:-} GENERATION=${SLURM_RESTART_COUNT:-0}

benchd_say() { printf 'benchd: %s\n' "$*" >&2; }
benchd_stop() { benchd_say "$@"; exit 1; }
benchd_unseen() {
    benchd_say "$@"
    [ -z "$JOB" ] || { : >"$JOB/unseen-$ID" || : >"$JOB.unseen-$ID"; } 2>/dev/null
    exit 78
}
[ -n "$ID" ] || benchd_unseen 'SLURM_JOB_ID is not set: this script is for sbatch, not for a shell'
[ -d "$JOB/try-$TRY" ] || benchd_unseen "the job directory '$JOB' (try '$TRY') is not seen" \
    "from $(uname -n): workdir must be on a file system that compute nodes mount"

ln -sT "$ID" "$JOB/claim" 2>/dev/null
for benchd_look in 1 2 3; do
    benchd_owner=$(readlink "$JOB/claim") && break
    [ "$benchd_look" = 3 ] || sleep 1
done
[ -n "$benchd_owner" ] || benchd_unseen "no claim can be made in '$JOB' from $(uname -n):" \
    'is it read-only, full, or over its quota?'
if [ "$benchd_owner" != "$ID" ]; then
    : >"$JOB/twin-$ID"
    benchd_say "nothing to do for Slurm job $ID: the work belongs to '$benchd_owner'"
    exit 75
fi
if ! mkdir "$JOB/try-$TRY/span-$GENERATION" 2>/dev/null; then
    [ -d "$JOB/try-$TRY/span-$GENERATION" ] || benchd_unseen "no directory can be made in" \
        "'$JOB/try-$TRY' from $(uname -n): is it read-only, full, or over its quota?"
    benchd_say "nothing is done twice: Slurm lost track of job $ID and started it again"
    benchd_status=$(sed -n 's/.*"status":\([0-9]*\).*/\1/p' "$JOB/exit.json" 2>/dev/null)
    exit "${benchd_status:-76}"
fi
rm -f "$JOB/endpoint.json" "$JOB/exit.json"
if [ "$GENERATION" != 0 ] && [ -d "$JOB/result" ]; then
    mv -T "$JOB/result" "$JOB/result.before-$GENERATION" # of a span that does not count
fi

benchd_started=$(date +%s)
benchd_status=0 benchd_pid='' benchd_starting='' benchd_woken='' benchd_late=''

benchd_leave() { :; }
benchd_record() {
    local status=$?
    trap '' TERM INT USR1 USR2
    [ -z "$benchd_pid" ] || kill -s KILL -- "-$benchd_pid" 2>/dev/null
    printf '{"slurm_id":"%s","generation":%d,"status":%d,"started_at":%d,"ended_at":%d}\n' \
        "$ID" "$GENERATION" "$status" "$benchd_started" "$(date +%s)" >"$JOB/.exit.json.$ID" &&
        mv -fT "$JOB/.exit.json.$ID" "$JOB/exit.json"
    benchd_leave
    exit "$status"
}
benchd_signal() {
    benchd_woken=1
    if [ -n "$benchd_pid" ]; then
        kill -s "$1" -- "-$benchd_pid" 2>/dev/null
    elif [ -n "$benchd_starting" ]; then
        benchd_late=$1
    elif [ "$1" = TERM ] || [ "$1" = INT ]; then
        exit "$((128 + $2))"
    fi
}
benchd_watch() {
    set +m
    trap : TERM INT USR1 USR2
    ("$@")
    printf '%d\n' "$?" >&"$benchd_pipe"
}
benchd_run() {
    benchd_late='' benchd_starting=1
    exec {benchd_pipe}<> <(:)
    set -m
    benchd_watch "$@" </dev/null &
    benchd_pid=$!
    set +m
    [ -z "$benchd_late" ] || kill -s "$benchd_late" -- "-$benchd_pid" 2>/dev/null
    while :; do
        benchd_woken=''
        wait "$benchd_pid"
        benchd_status=$?
        [ -n "$benchd_woken" ] || break
    done
    read -r -t 1 benchd_said <&"$benchd_pipe" && benchd_status=$benchd_said
    [ "$benchd_status" -ge 0 ] || benchd_status=143
    benchd_starting=''
}
trap benchd_record EXIT
trap 'benchd_signal TERM 15' TERM
trap 'benchd_signal INT 2' INT
trap 'benchd_signal USR1 10' USR1
trap 'benchd_signal USR2 12' USR2

benchd_host() {
    local address found=' '
    BENCHD_HOST=$(uname -n)
    BENCHD_HOST_IP=''
    for address in $(getent ahostsv4 "$BENCHD_HOST" 2>/dev/null); do
        case $address in
            *.*.*.*) case $found in *" $address "*) ;; *) found="$found$address " ;; esac ;;
        esac
    done
    for address in $found; do
        case $address in 127.*) ;; *) BENCHD_HOST_IP=$address && break ;; esac
    done
    case $BENCHD_HOST_IP/$BENCHD_HOST in
        /* | */*[!A-Za-z0-9.-]*)
            for address in $(hostname -I 2>/dev/null) 127.0.0.1; do
                case $address in
                    *.*.*.*) BENCHD_HOST_IP=$address && break ;;
                esac
            done
            BENCHD_HOST=$BENCHD_HOST_IP found=" $BENCHD_HOST_IP "
            ;;
    esac
    case $found in
        ' 127.'* | *' '*' '*' '*) BENCHD_BIND=0.0.0.0 ;;
        *) BENCHD_BIND=$BENCHD_HOST_IP ;;
    esac
    export BENCHD_HOST BENCHD_HOST_IP BENCHD_BIND
}
benchd_host
export BENCHD_NODES=${SLURM_JOB_NUM_NODES:-${SLURM_NNODES:-1}} BENCHD_NODE_INDEX=0

benchd_forget() {
    local status=$?
    rm -f -- "$JOB"/try-*/secret.env
    return "$status"
}
trap 'benchd_forget; benchd_record' EXIT
benchd_secrets() {
    local file=$JOB/try-$TRY/secret.env
    if [ ! -e "$file" ]; then
        [ -z "$1" ] || benchd_stop "the secrets ($1) are not in $file any more:" \
            'what stood in the recipe itself is removed when its run ends; submit it again'
        return 0
    fi
    set -a
    # shellcheck disable=SC1090,SC1091 # written at submission
    . "$file" || benchd_stop "$file cannot be read"
    set +a
    benchd_forget
}
export BENCHD_TOKEN=bq7x2m-k5wz3tqa2f-s-grafana-p0r0-0-a1 BENCHD_JOB=$JOB
benchd_modules() {
    set +u
    # shellcheck disable=SC1090,SC1091 # the site's file, not ours
    type module >/dev/null 2>&1 || . /etc/profile >/dev/null
    type module >/dev/null 2>&1 ||
        benchd_stop "no 'module' command on $BENCHD_HOST, but runtime.module is set"
    module load "$@" || benchd_stop "module load $* failed: see 'module avail' on the cluster"
    set -u
}
benchd_modules Apptainer/1.2.4-GCCcore-12.3.0
export BENCHD_SHIP_RELAY="${JOB%/*/*/*/*}"/ship/relay-0123456789abcdef.pyz
[ -r "$BENCHD_SHIP_RELAY" ] || benchd_stop "$BENCHD_SHIP_RELAY cannot be read on this node: was W/ship cleaned? benchd sends it again at the next submission"
mkdir -p "$JOB"/grafana/datasources
printf '%s' 'apiVersion: 1
datasources:
- name: Prometheus
  uid: benchd-prometheus
  type: prometheus
  access: proxy
  url: http://127.0.0.1:$BENCHD_PORT_1
  isDefault: true
  editable: false
- name: Loki
  uid: benchd-loki
  type: loki
  access: proxy
  url: http://127.0.0.1:$BENCHD_PORT_2
  isDefault: false
  editable: false
' >"$JOB"/grafana/datasources/benchd.yml || benchd_stop 'grafana/datasources/benchd.yml cannot be written'
mkdir -p "$JOB"/grafana/dashboards
printf '%s' 'apiVersion: 1
providers:
- name: benchd
  type: file
  allowUiUpdates: false
  options:
    path: $BENCHD_JOB/grafana/dashboards
' >"$JOB"/grafana/dashboards/benchd.yml || benchd_stop 'grafana/dashboards/benchd.yml cannot be written'
mkdir -p "$JOB"/grafana/dashboards
printf '%s' '{"uid":"benchd-services","title":"Services","description":"The services of a run, as Prometheus sees them. Part of benchd.","tags":["benchd"],"schemaVersion":39,"editable":false,"graphTooltip":1,"refresh":"5s","timezone":"browser","time":{"from":"now-1h","to":"now"},"templating":{"list":[{"name":"datasource","label":"Prometheus","type":"datasource","query":"prometheus","current":{"text":"Prometheus","value":"benchd-prometheus"}},{"name":"run","label":"Run","type":"query","datasource":{"type":"prometheus","uid":"${datasource}"},"definition":"label_values(up, run)","query":{"query":"label_values(up, run)","refId":"runs"},"refresh":2,"includeAll":true,"allValue":".*","multi":true,"current":{"text":["All"],"value":["$__all"]}},{"name":"service","label":"Service","type":"query","datasource":{"type":"prometheus","uid":"${datasource}"},"definition":"label_values(up{run=~\"$run\"}, service)","query":{"query":"label_values(up{run=~\"$run\"}, service)","refId":"services"},"refresh":2,"includeAll":true,"allValue":".*","multi":true,"current":{"text":["All"],"value":["$__all"]}}]},"annotations":{"list":[]},"panels":[{"id":1,"type":"row","title":"Targets","collapsed":false,"gridPos":{"h":1,"w":24,"x":0,"y":0}},{"id":2,"type":"stat","title":"Up","description":"Targets that answered.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":4,"w":3,"x":0,"y":1},"fieldConfig":{"defaults":{"unit":"short","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]}},"overrides":[]},"options":{"reduceOptions":{"calcs":["lastNotNull"],"fields":"","values":false},"colorMode":"value","graphMode":"none"},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"sum(up{run=~\"$run\", service=~\"$service\"})","legendFormat":"__auto","range":false,"instant":true}]},{"id":3,"type":"stat","title":"Silent","description":"Targets that did not answer: the service is away, or its exporter is.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":4,"w":3,"x":3,"y":1},"fieldConfig":{"defaults":{"unit":"short","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"},{"value":1,"color":"red"}]}},"overrides":[]},"options":{"reduceOptions":{"calcs":["lastNotNull"],"fields":"","values":false},"colorMode":"value","graphMode":"none"},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"count(up{run=~\"$run\", service=~\"$service\"} == 0) or vector(0)","legendFormat":"__auto","range":false,"instant":true}]},{"id":4,"type":"timeseries","title":"What answers","description":"Each target; a gap is a look that failed.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":4,"w":18,"x":6,"y":1},"fieldConfig":{"defaults":{"unit":"short","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"up{run=~\"$run\", service=~\"$service\"}","legendFormat":"{{job}} {{node}}","range":true,"instant":false}]},{"id":5,"type":"row","title":"Jobs (benchd'"'"'s exporter: exporters: [job])","collapsed":false,"gridPos":{"h":1,"w":24,"x":0,"y":5}},{"id":6,"type":"timeseries","title":"Cores in use","description":"CPU time of the job'"'"'s processes: 1 is one core.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":0,"y":6},"fieldConfig":{"defaults":{"unit":"short","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"sum by (service, node) (rate(benchd_job_cpu_seconds_total{run=~\"$run\", service=~\"$service\"}[$__rate_interval]))","legendFormat":"{{service}} {{node}}","range":true,"instant":false}]},{"id":7,"type":"timeseries","title":"Memory by program","description":"Resident memory; pages that programs share count in each.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":8,"y":6},"fieldConfig":{"defaults":{"unit":"bytes","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"sum by (service, program) (benchd_job_program_resident_memory_bytes{run=~\"$run\", service=~\"$service\"})","legendFormat":"{{service}} {{program}}","range":true,"instant":false}]},{"id":8,"type":"timeseries","title":"Storage","description":"Bytes that the job'"'"'s processes moved from and to disks.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":16,"y":6},"fieldConfig":{"defaults":{"unit":"Bps","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"sum by (service, direction) (rate(benchd_job_io_bytes_total{run=~\"$run\", service=~\"$service\", layer=\"storage\"}[$__rate_interval]))","legendFormat":"{{service}} {{direction}}","range":true,"instant":false}]},{"id":9,"type":"timeseries","title":"Node: share of cores in use","description":"By everybody on the node: a busy neighbour spoils a measurement.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":0,"y":13},"fieldConfig":{"defaults":{"unit":"percentunit","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"1 - sum by (node) (rate(benchd_node_cpu_seconds_total{run=~\"$run\", service=~\"$service\", mode=\"idle\"}[$__rate_interval])) / sum by (node) (rate(benchd_node_cpu_seconds_total{run=~\"$run\", service=~\"$service\"}[$__rate_interval]))","legendFormat":"{{node}}","range":true,"instant":false}]},{"id":10,"type":"timeseries","title":"Node: network","description":"Bytes of the whole node, without the loopback device.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":8,"y":13},"fieldConfig":{"defaults":{"unit":"Bps","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"sum by (node) (rate(benchd_node_network_receive_bytes_total{run=~\"$run\", service=~\"$service\"}[$__rate_interval]))","legendFormat":"{{node}} in","range":true,"instant":false},{"refId":"B","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"sum by (node) (rate(benchd_node_network_transmit_bytes_total{run=~\"$run\", service=~\"$service\"}[$__rate_interval]))","legendFormat":"{{node}} out","range":true,"instant":false}]},{"id":11,"type":"timeseries","title":"GPU: share of time in use","description":"As nvidia-smi says it; nothing where there is none.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":16,"y":13},"fieldConfig":{"defaults":{"unit":"percentunit","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"benchd_gpu_utilization_ratio{run=~\"$run\", service=~\"$service\"}","legendFormat":"{{node}} {{gpu}}","range":true,"instant":false}]},{"id":12,"type":"timeseries","title":"GPU: memory","description":"In use.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":0,"y":20},"fieldConfig":{"defaults":{"unit":"bytes","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"benchd_gpu_memory_used_bytes{run=~\"$run\", service=~\"$service\"}","legendFormat":"{{node}} {{gpu}}","range":true,"instant":false}]},{"id":13,"type":"timeseries","title":"GPU: power","description":"What each draws.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":8,"y":20},"fieldConfig":{"defaults":{"unit":"watt","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"benchd_gpu_power_watts{run=~\"$run\", service=~\"$service\"}","legendFormat":"{{node}} {{gpu}}","range":true,"instant":false}]},{"id":14,"type":"timeseries","title":"cAdvisor: cores by cgroup","description":"Where one runs (enable_cadvisor): by the cgroup of the Slurm job.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":16,"y":20},"fieldConfig":{"defaults":{"unit":"short","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"sum by (id) (rate(container_cpu_usage_seconds_total{run=~\"$run\", service=~\"$service\", id=~\".*job_[0-9]+\"}[$__rate_interval]))","legendFormat":"{{id}}","range":true,"instant":false}]},{"id":15,"type":"row","title":"What servers say of themselves","collapsed":false,"gridPos":{"h":1,"w":24,"x":0,"y":27}},{"id":16,"type":"timeseries","title":"Redis: commands","description":"By exporters: [redis].","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":0,"y":28},"fieldConfig":{"defaults":{"unit":"ops","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"sum by (service, node) (rate(redis_commands_processed_total{run=~\"$run\", service=~\"$service\"}[$__rate_interval]))","legendFormat":"{{service}} {{node}}","range":true,"instant":false}]},{"id":17,"type":"timeseries","title":"Redis: memory","description":"By exporters: [redis].","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":8,"y":28},"fieldConfig":{"defaults":{"unit":"bytes","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"redis_memory_used_bytes{run=~\"$run\", service=~\"$service\"}","legendFormat":"{{service}} {{node}}","range":true,"instant":false}]},{"id":18,"type":"timeseries","title":"MySQL: queries","description":"By exporters: [mysql].","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":16,"y":28},"fieldConfig":{"defaults":{"unit":"ops","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"sum by (service, node) (rate(mysql_global_status_queries{run=~\"$run\", service=~\"$service\"}[$__rate_interval]))","legendFormat":"{{service}} {{node}}","range":true,"instant":false}]},{"id":19,"type":"timeseries","title":"vLLM: requests","description":"In generation, and waiting for a place.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":0,"y":35},"fieldConfig":{"defaults":{"unit":"short","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"vllm:num_requests_running{run=~\"$run\", service=~\"$service\"}","legendFormat":"{{service}} running","range":true,"instant":false},{"refId":"B","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"vllm:num_requests_waiting{run=~\"$run\", service=~\"$service\"}","legendFormat":"{{service}} waiting","range":true,"instant":false}]},{"id":20,"type":"timeseries","title":"vLLM: tokens","description":"Generated, each second.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":8,"y":35},"fieldConfig":{"defaults":{"unit":"short","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"sum by (service) (rate(vllm:generation_tokens_total{run=~\"$run\", service=~\"$service\"}[$__rate_interval]))","legendFormat":"{{service}}","range":true,"instant":false}]},{"id":21,"type":"timeseries","title":"vLLM: time to the first token, p95","description":"Seen by the server: without the network and the client.","datasource":{"type":"prometheus","uid":"${datasource}"},"gridPos":{"h":7,"w":8,"x":16,"y":35},"fieldConfig":{"defaults":{"unit":"s","min":0,"thresholds":{"mode":"absolute","steps":[{"value":null,"color":"green"}]},"custom":{"lineWidth":1,"fillOpacity":8,"showPoints":"never","stacking":{"mode":"none"}}},"overrides":[]},"options":{"legend":{"displayMode":"list","placement":"bottom","showLegend":true},"tooltip":{"mode":"multi","sort":"desc"}},"targets":[{"refId":"A","datasource":{"type":"prometheus","uid":"${datasource}"},"expr":"histogram_quantile(0.95, sum by (le, service) (rate(vllm:time_to_first_token_seconds_bucket{run=~\"$run\", service=~\"$service\"}[$__rate_interval])))","legendFormat":"{{service}}","range":true,"instant":false}]}]}' >"$JOB"/grafana/dashboards/services.json || benchd_stop 'grafana/dashboards/services.json cannot be written'
export BENCHD_DATA=$JOB/data
mkdir -p "$BENCHD_DATA" || benchd_stop "$BENCHD_DATA cannot be made: is the file system full?"

command -v apptainer >/dev/null || benchd_stop 'apptainer is not on this node: check runtime.module in the cluster'"'"'s configuration'
benchd_image="${HOME:?is not set on this node}"/containers/grafana-11.1.0.sif
[ -e "$benchd_image" ] || benchd_stop "$benchd_image was there and is gone: was the directory cleaned? benchctl retry makes it again"
benchd_stamp() { if [ -d "$1" ]; then echo '"size": 0, "mtime": 0'; else stat -Lc '"size": %s, "mtime": %Y' "$1"; fi; }
benchd_digest() {
    local said
    read -r said 2>/dev/null <"$benchd_image.benchd.json" || return 0
    case $said in
        *", $(benchd_stamp "$benchd_image"), "*) ;;
        *) return 0 ;;
    esac
    said=${said#*\"digest\": \"}
    if [[ ${said%%\"*} =~ ^sha256:[0-9a-f]{64}$ ]]; then
        export BENCHD_IMAGE_DIGEST=${said%%\"*}
    fi
}
benchd_digest
benchd_ports=''
benchd_answers() { timeout 2 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$1" "$2" 2>/dev/null; }
benchd_taken() {
    case " $benchd_ports " in *" $1 "*) return 0 ;; esac
    benchd_answers 127.0.0.1 "$1" || benchd_answers "$BENCHD_HOST_IP" "$1"
}
benchd_take() {
    local round
    benchd_port=$1
    if [ "$1" != auto ]; then
        ! benchd_taken "$1" || benchd_stop "port $1 is taken on $BENCHD_HOST: something else" \
            "answers there. Write 'ports: [auto]' in the recipe and benchd picks a free one"
    else
        for ((round = 0; round < 100; round++)); do
            benchd_port=$((20000 + RANDOM % 12001))
            benchd_taken "$benchd_port" || break
            benchd_port=''
        done
        [ -n "$benchd_port" ] || benchd_stop "no free port found on $BENCHD_HOST in 100 rounds"
    fi
    benchd_ports="$benchd_ports $benchd_port"
}
benchd_publish() {
    printf '{"slurm_id":"%s","generation":%d,"host":"%s","ports":[%s]%s}\n' \
        "$ID" "$GENERATION" "$BENCHD_HOST" "$1" \
        "${BENCHD_IMAGE_DIGEST:+,\"image\":\"$BENCHD_IMAGE_DIGEST\"}" >"$JOB/.endpoint.json.$ID"
    mv -fT "$JOB/.endpoint.json.$ID" "$JOB/endpoint.json" ||
        benchd_stop "endpoint.json cannot be written in $JOB: is the file system full?"
}
benchd_take auto
export BENCHD_PORT_0=$benchd_port
benchd_take auto
export BENCHD_PORT_1=$benchd_port
benchd_take auto
export BENCHD_PORT_2=$benchd_port
export BENCHD_PORT=$BENCHD_PORT_0
benchd_publish "$BENCHD_PORT_0,$BENCHD_PORT_1,$BENCHD_PORT_2"
export BENCHD_RESULT_DIR=$JOB/result
mkdir -p "$BENCHD_RESULT_DIR" || benchd_stop "$BENCHD_RESULT_DIR cannot be made"

benchd_node() {
    local line cpu='' memory='' kernel='' place
    while IFS= read -r line; do
        case $line in 'model name'*) cpu=${line#*: } && break ;; esac
    done </proc/cpuinfo
    read -r _ memory _ </proc/meminfo
    read -r kernel </proc/sys/kernel/osrelease
    place=${SLURM_JOB_PARTITION:-},${SLURM_JOB_QOS:-},${SLURM_JOB_ACCOUNT:-}
    printf '{"node":"%s","cpu":"%s","cores":%d,"mem_kib":%d,"kernel":"%s","given":%d,"in":"%s"}\n' \
        "$BENCHD_HOST" "${cpu//[!A-Za-z0-9 ()@.,_+-]/}" "$(nproc --all)" "$memory" \
        "${kernel//[!A-Za-z0-9._+~-]/}" "${SLURM_CPUS_ON_NODE:-0}" "${place//[!A-Za-z0-9._+,-]/}"
}
benchd_node 2>/dev/null >"$BENCHD_RESULT_DIR/benchd-node.json"

benchd_enter() {
    local benchd_name
    for benchd_name in "${!BENCHD_@}" CUDA_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ROCR_VISIBLE_DEVICES SLURM_CPUS_PER_TASK SLURM_JOB_ID SLURM_RESTART_COUNT ${BENCHD_SECRETS:-}; do
        [ -z "${!benchd_name+x}" ] || export "APPTAINERENV_$benchd_name=${!benchd_name}"
    done
    export APPTAINER_NO_EVAL=1
}
benchd_failed() {
    benchd_say "$2 ended with status $1, so the job ends"
    exit "$1"
}
benchd_guard() {
    local status
    ("$@") {benchd_pipe}>&-
    status=$?
    [ "$status" != 0 ] || exit 0
    sleep 1
    trap '' TERM
    printf '%d\n' "$status" >&"$benchd_pipe"
    kill -s TERM 0
    trap - TERM
    sleep 10
    kill -s KILL 0
}
benchd_beside() {
    local name=$1 status
    shift
    ("$@") {benchd_pipe}>&- >"$JOB/beside-$name.log" 2>&1
    status=$?
    sleep 1
    benchd_say "$name, which runs beside the program, ended with status $status;" \
        "the job goes on, see $JOB/beside-$name.log"
}
benchd_settle() {
    local round others
    kill -s TERM -- "-$benchd_pid" 2>/dev/null || return 0
    for ((round = 0; round < 50; round++)); do
        others=$(ps -u "$UID" -o pgid=,stat= 2>/dev/null)
        [[ " $others" =~ [[:space:]]${benchd_pid}[[:space:]]+[^Z[:space:]] ]] || return 0
        sleep 0.1
    done
    kill -s KILL -- "-$benchd_pid" 2>/dev/null
}

benchd_ask() {
    local file=$BENCHD_RESULT_DIR/benchd-$1
    ("$2") {benchd_pipe}>&- </dev/null 2>/dev/null | head -c 4096 >"$file.part"
    if [ -s "$file.part" ]; then mv -fT "$file.part" "$file"; else rm -f "$file.part"; fi
}
benchd_gpus() {
    exec timeout --foreground -k 1 5 nvidia-smi --format=csv,noheader,nounits \
        --query-gpu=name,memory.total,driver_version,uuid
}


benchd_payload() {
    benchd_secrets GF_SECURITY_ADMIN_PASSWORD
    mkdir -p "$JOB/targets"
    benchd_beside_relay() {
        exec env GF_ANALYTICS_REPORTING_ENABLED=false GF_ANALYTICS_CHECK_FOR_UPDATES=false GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES=false GF_LOG_MODE=console GF_USERS_ALLOW_SIGN_UP=false python3 "$BENCHD_SHIP_RELAY" --file "$JOB"/targets/benchd.json "$BENCHD_PORT_1"=prometheus "$BENCHD_PORT_2"=loki
    }
    (benchd_beside relay benchd_beside_relay &)
    benchd_version() {
        benchd_enter
        exec timeout --foreground -k 1 5 env APPTAINERENV_GF_ANALYTICS_REPORTING_ENABLED=false APPTAINERENV_GF_ANALYTICS_CHECK_FOR_UPDATES=false APPTAINERENV_GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES=false APPTAINERENV_GF_LOG_MODE=console APPTAINERENV_GF_USERS_ALLOW_SIGN_UP=false apptainer exec --cleanenv --bind "$JOB" --bind "${JOB%/*/*/*/*}"/ship:"${JOB%/*/*/*/*}"/ship:ro --pwd "$JOB" "$benchd_image" grafana --version
    }
    (benchd_ask version.txt benchd_version &)
    exec {benchd_pipe}>&-
    benchd_enter
    exec env APPTAINERENV_GF_ANALYTICS_REPORTING_ENABLED=false APPTAINERENV_GF_ANALYTICS_CHECK_FOR_UPDATES=false APPTAINERENV_GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES=false APPTAINERENV_GF_LOG_MODE=console APPTAINERENV_GF_USERS_ALLOW_SIGN_UP=false apptainer exec --cleanenv --bind "$JOB" --bind "${JOB%/*/*/*/*}"/ship:"${JOB%/*/*/*/*}"/ship:ro --pwd "$JOB" "$benchd_image" grafana server --homepath=/usr/share/grafana cfg:server.http_addr="$BENCHD_BIND" cfg:server.http_port="$BENCHD_PORT" cfg:paths.data="$BENCHD_DATA" cfg:paths.logs="$BENCHD_DATA"/log cfg:paths.plugins="$BENCHD_DATA"/plugins cfg:paths.provisioning="$JOB"/grafana
}
benchd_run benchd_payload
benchd_settle
exit "$benchd_status"
