#!/usr/bin/env bash
# Run a grid, hold it against a baseline, and say what came of it.
#
# Everything is read from the environment, so that nothing an input holds is ever read as a command: GATE_GRID,
# GATE_MODEL, GATE_DATA, GATE_SET, GATE_OUT, GATE_RUN, GATE_BASELINE, GATE_METRIC, GATE_MAX_DROP, GATE_POLICY,
# GATE_STRICT, GATE_FAIL_ON and GATE_JUNIT mean what action.yml says of the inputs. Ends with the exit code of
# `robustreid compare`: 0, 1 a regression, 6 not comparable; or with that of what went wrong before.
set -euo pipefail

: "${GITHUB_OUTPUT:=/dev/null}" "${GITHUB_STEP_SUMMARY:=/dev/null}"
baseline=${GATE_BASELINE:-robustreid-baseline.parquet}
junit=${GATE_JUNIT-robustreid-gate.xml}
run=${GATE_RUN:-}
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

# One output; the value may have any characters and lines.
output() {
  local mark
  mark=end-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  printf '%s<<%s\n%s\n%s\n' "$1" "$mark" "$2" "$mark" >>"$GITHUB_OUTPUT"
}

# The verdict and the exit code of the tool, as outputs and on the terminal.
conclude() {
  output verdict "$1"
  output exit-code "$2"
  output run "$run"
  output baseline "$baseline"
  output junit "$junit"
  printf 'gate: %s (exit code %s)\nrun: %s\nbaseline: %s\njunit: %s\n' "$1" "$2" "$run" "$baseline" "$junit"
}

# What kept the tool from a verdict; standard error has said it on the terminal.
fail() {
  {
    printf '### Robustness gate: error\n\n'
    printf 'There is no verdict: %s ended with exit code %s. The log of this step says why.\n' "$1" "$2"
  } >>"$GITHUB_STEP_SUMMARY"
  conclude error "$2"
  exit "$2"
}

refuse() {
  printf '%s is %q; expected %s.\n' "$1" "$2" "$3" >&2
  fail 'reading the inputs' 2
}

case ${GATE_STRICT:=false} in true | false) ;; *) refuse strict "$GATE_STRICT" 'true or false' ;; esac
case ${GATE_FAIL_ON:=any} in any | regression | nothing) ;; *) refuse fail-on "$GATE_FAIL_ON" 'any, regression or nothing' ;; esac

if [[ -z $run ]]; then
  run=${GATE_OUT:-runs/gate}
  [[ -z ${GATE_MODEL:-} ]] || export MODEL=$GATE_MODEL
  [[ -z ${GATE_DATA:-} ]] || export DATA=$GATE_DATA
  options=(--out "$run")
  while IFS= read -r line; do
    [[ $line =~ ^[[:space:]]*$ ]] || options+=(--set "$line")
  done <<<"${GATE_SET:-}"
  status=0
  robustreid run "${options[@]}" -- "${GATE_GRID:-smoke}" || status=$?
  # 3: cells failed. The comparison names those that the baseline has; a first baseline is not made with holes.
  ((status == 0)) || { ((status == 3)) && [[ -e $baseline ]]; } || fail 'running the grid' "$status"
fi

options=()
[[ -z ${GATE_METRIC:-} ]] || options+=(--metric "$GATE_METRIC")
[[ -z ${GATE_MAX_DROP:-} ]] || options+=(--max-drop "$GATE_MAX_DROP")
[[ -z ${GATE_POLICY:-} ]] || options+=(--policy "$GATE_POLICY")
[[ $GATE_STRICT == false ]] || options+=(--strict)

# Once a format. Bash before 4.4 takes an empty array for an unset one.
compare() {
  robustreid compare ${options[@]+"${options[@]}"} --explain --format "$1" -- "$baseline" "$run"
}

is_first=false
[[ -e $baseline ]] || is_first=true
status=0
compare md >"$scratch/summary.md" || status=$?
((status == 0 || status == 1 || status == 6)) || fail 'the comparison' "$status"
cat -- "$scratch/summary.md" >>"$GITHUB_STEP_SUMMARY"
if [[ -n $junit ]]; then
  mkdir -p -- "$(dirname -- "$junit")"
  compare junit >"$junit" || (($? == status))
fi
# Whoever reads the log of a step that failed finds the reason there too.
((status == 0)) || compare table || (($? == status))

case $is_first,$status in
  true,0)
    printf '\nCommit the baseline, and later runs are held against it.\n' >>"$GITHUB_STEP_SUMMARY"
    conclude first-run 0
    printf 'There was no baseline. Commit %s, and later runs are held against it.\n' "$baseline"
    ;;
  *,0) conclude passed 0 ;;
  *,1) conclude regression 1 ;;
  *) conclude not-comparable "$status" ;;
esac

case $GATE_FAIL_ON,$status in
  any,* | regression,1) exit "$status" ;;
esac
