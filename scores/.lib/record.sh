# Sourced by the sample scores: a line in $ORC_root/record for each start and each end.
#
#   start|end SCORE HOST FLOW TASK ATTEMPT NANOSECONDS PID
#
# Each line is one write to a file opened for appending, so that lines of many players on one
# machine never mix. Without the parameter `root` nothing is recorded.

record() {
    [ -n "${ORC_root:-}" ] || return 0
    printf '%s %s %s %s %s %s %s %s\n' "$1" "$ORC_SCORE" "$ORC_PLAYER" "$ORC_FLOW" "$ORC_TASK" \
        "$ORC_ATTEMPT" "$(date +%s%N)" "$$" >> "$ORC_root/record"
}

# From here to the end of the score, however it ends short of SIGKILL. On TERM it dies of TERM, as
# it would without a trap, so that the player can tell a death by signal from an exit.
record_run() {
    [ -n "${ORC_root:-}" ] || return 0
    mkdir -p "$ORC_root/$ORC_PLAYER"
    trap 'record end' EXIT
    trap 'trap - EXIT TERM; record end; kill -s TERM "$$"' TERM
    record start
}
