"""The shell that makes an image: once, under a lock, and with a note of what it was made from.

The same text runs in a job of its own, in the job that needs the image, and on the login node. An
image is made under a name of its own and then renamed, so a reader never sees half of one. The lock
is a directory beside it, which names its holder; the holder touches it again and again, so one that
was killed is known by its age, or at once where its process should be.
"""

from __future__ import annotations

# $1: a lock. Dead is one whose process is gone (of ours, on this node), or that nobody touched for
# 300 s: ten times the pause below, and more than the clocks of two machines should differ. One that
# names nobody may be of an older benchd, which did not touch it, and gave up after 1800 s.
IS_DEAD = (
    "benchd_is_dead() { local host pid user _ limit=300; "
    'if [ -e "$1/owner" ]; then read -r host pid user _ <"$1/owner" 2>/dev/null; '
    'set -- "$1/owner"; else '
    "host='' limit=1800; fi; "
    'if [ "${host:-}" = "$(uname -n)" ] && [ "${user:-}" = "$UID" ] && '
    '[ ! -d "/proc/${pid:-0}" ]; then return 0; fi; '
    '[ "$(($(date +%s) - $(stat -c %Y "$1" 2>/dev/null || date +%s)))" -gt "$limit" ]; }'
)

# Tell of which file a note is: another one has another size or time. A directory changes when a job
# makes a place in it to mount on, so of one nothing is told.
STAMP = (
    'benchd_stamp() { if [ -d "$1" ]; then echo \'"size": 0, "mtime": 0\'; '
    'else stat -Lc \'"size": %s, "mtime": %Y\' "$1"; fi; }'
)

# Write the note beside an image: what it was made from, and what it is.
NOTE = r"""benchd_sum() {
    if [ -d "$1" ]; then
        (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) | sha256sum
    else
        sha256sum <"$1"
    fi | cut -c1-64
}
benchd_note() {
    printf '%s"digest": "sha256:%s", %s, "made_at": "%s", "by": "%s"}\n' \
        "$benchd_origin" "$(benchd_sum "$benchd_part")" "$(benchd_stamp "$benchd_part")" \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$benchd_by" \
        >"$benchd_image.benchd.json-$benchd_mark" &&
        mv -fT "$benchd_image.benchd.json-$benchd_mark" "$benchd_image.benchd.json"
}"""

# What the names mean: benchd_image, the file; benchd_anew, not empty when one that is there does
# not count; benchd_by, who makes it; benchd_mark, unique; benchd_origin, the beginning of the note;
# benchd_make, the function that makes $benchd_part. 5 s between two looks at somebody's lock.
# `read` from a pipe that nobody writes waits without a process that would outlive its killer.
# Variables are not local: the trap runs when the function, which has a process of its own, is over.
BRING = (
    IS_DEAD
    + "\n"
    + STAMP
    + r"""
benchd_bring() {
    benchd_lock=$benchd_image.lock benchd_part=$benchd_image.part-$benchd_mark
    benchd_missed=0 benchd_toucher='' benchd_maker=$BASHPID
    mkdir -p "$(dirname "$benchd_image")" || return 1
    until mkdir "$benchd_lock" 2>/dev/null; do
        if [ -z "$benchd_anew" ] && [ -e "$benchd_image" ]; then return 0; fi
        if [ ! -d "$benchd_lock" ]; then
            benchd_missed=$((benchd_missed + 1))
            if [ "$benchd_missed" -ge 5 ]; then
                benchd_say "no directory can be made beside $benchd_image: may you write there?"
                return 1
            fi
        elif benchd_is_dead "$benchd_lock"; then
            benchd_say "whoever held $benchd_lock is gone: $(cat "$benchd_lock/owner" 2>/dev/null)"
            mv -T "$benchd_lock" "$benchd_lock.dead-$benchd_mark" 2>/dev/null
            rm -rf "$benchd_lock.dead-$benchd_mark"
            continue
        fi
        sleep 5
    done
    trap 'benchd_tidy' EXIT
    trap 'exit 143' TERM
    printf '%s %s %s %s\n' "$(uname -n)" "$benchd_maker" "$UID" "$benchd_by" >"$benchd_lock/owner"
    benchd_touch </dev/null >/dev/null 2>&1 &
    benchd_toucher=$!
    if [ -z "$benchd_anew" ] && [ -e "$benchd_image" ]; then return 0; fi
    benchd_make || return "$?"
    if [ ! -e "$benchd_part" ]; then
        benchd_say "the commands that make $benchd_image ended well and made nothing"
        return 1
    fi
    benchd_note || benchd_say "what $benchd_image was made from cannot be written beside it"
    if [ -d "$benchd_image" ]; then mv -T "$benchd_image" "$benchd_part.old" || return 1; fi
    mv -T "$benchd_part" "$benchd_image"
}
# shellcheck disable=SC2317,SC2329 # a trap calls it
benchd_tidy() {
    [ -z "$benchd_toucher" ] || kill "$benchd_toucher" 2>/dev/null
    rm -rf "$benchd_part" "$benchd_part.old" "$benchd_image.benchd.json-$benchd_mark"
    rm -rf "$benchd_lock"
}
benchd_touch() {
    local nothing
    exec {nothing}<> <(:)
    until read -r -t 30 -u "$nothing" || [ ! -d "/proc/$benchd_maker" ]; do
        touch -c "$benchd_lock/owner" || return
    done
}
"""
    + NOTE
)

# In the job that needs the image, when its recipe wants that: the lock only spares the site from
# bringing it many times.
INSIDE = r"""benchd_inside() {
    exec {benchd_pipe}>&-
    benchd_bring
}
if [ ! -e "$benchd_image" ]; then
    benchd_run benchd_inside
    if [ ! -e "$benchd_image" ]; then
        benchd_say "the image $benchd_image could not be made on $BENCHD_HOST; see the lines above"
        exit "$((benchd_status ? benchd_status : 1))"
    fi
    benchd_pid=''
fi"""

# Know the digest of an image, if the note beside it is about the image that is there. The note may
# be anybody's, and what is known ends up in JSON.
DIGEST = (
    STAMP
    + r"""
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
benchd_digest"""
)

# A client's result says which image it came of; a service's endpoint.json does.
CLIENT_NOTE = (
    '[ -z "${BENCHD_IMAGE_DIGEST:-}" ] || '
    'cp "$benchd_image.benchd.json" "$BENCHD_RESULT_DIR/benchd-image.json"'
)

# Status of a look into an image that has none of the programs; whatever else goes wrong has others.
_NOT_THERE = 66
HAS = f'for each do command -v "$each" >/dev/null && exit; done; exit {_NOT_THERE}'
# A tool of others runs where it is: in its image, else on the node. `benchd_look` looks into the
# image; what stood beside it of the image is not true of what ran.
ONLY_HERE = f"""
benchd_only_here() {{
    local program here=''
    for program; do [ -n "$here" ] || here=$(command -v "$program"); done
    [ -n "$here" ] || return 1
    (benchd_look) >/dev/null 2>&1 </dev/null
    [ "$?" -eq {_NOT_THERE} ] || return 1
    rm -f "$BENCHD_RESULT_DIR/benchd-image.json"
    benchd_say "the image has no $1 and this node has $here: it runs on the node"
}}"""
