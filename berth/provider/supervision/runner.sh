# Starts one service and stays with it; sourced by the service's own `run` script, which sets
#   folder        the service's folder; run, state/ and this file lie in it
#   log           what the service writes goes here, which this shell's output goes to as well
#   locks         folders to lock, one for each card it uses, separated by spaces; may be empty. Folders, since a file in
#                 a sticky folder can be opened by its owner alone where the kernel protects such files
#   ready         a command line that ends with 0 once the service is ready; empty: ready when started
#   ready_limit   after so many seconds the locks are given up even if it is not ready
#   stop_signal   what ends it politely, and stop_timeout, the seconds before it is killed
# and the service's own command line as "$@". POSIX sh, with flock and setsid of util-linux.
#
# Whoever starts the service (supervisord, systemd, Docker, a hand) starts it through this, so that
#   - two services on one card never start at the same time: the card's lock is held until ready;
#   - nothing of it outlives it: it runs in a session of its own, which is killed when its main process is gone;
#   - nothing is started twice: what an earlier runner left is adopted when it runs this very definition, else stopped.

state=$folder/state
mkdir -p -- "$state"
boot=$(cat /proc/sys/kernel/random/boot_id)
digest=$(sha256sum < "$folder/run" | cut -d' ' -f1)
child= child_start= stopping= hold= holder=

say() { printf '%s berth: %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*"; }
fields() { sed 's/.*) //' "/proc/$1/stat" 2> /dev/null; }       # from the process state on: a name may hold blanks
started() { fields "$1" | cut -d' ' -f20; }                     # the start time, in ticks since boot
parent() { fields "$1" | cut -d' ' -f2; }
alive() { case $(fields "$1") in '' | [ZX]*) return 1 ;; esac; [ "$(started "$1")" = "$2" ]; }
members() { # the live processes of session $1; that another process goes while they are read is no failure
  sed -n "s/^\([0-9]*\) (.*) [^ZX] [0-9]* [0-9]* $1 .*/\1/p" /proc/[0-9]*/stat 2> /dev/null || :
}

clear_session() { # ends what is left of session $1: politely for $2 seconds, then for good; returns when it is empty
  waited=0
  while left=$(members "$1") && [ -n "$left" ]; do
    if [ "$waited" -ge "$2" ]; then kill -KILL $left 2> /dev/null || :; fi
    waited=$((waited + 1))
    sleep 1
  done
}

record() { # pid start runner runner-start supervisor boot digest, in one rename; pid and start are - before there is one
  if [ -n "$child" ]; then child_start=$(started "$child"); fi
  printf '%s %s %s %s %s %s %s\n' "${child:--}" "${child_start:--}" $$ "$(started $$)" "$PPID" "$boot" "$digest" \
    > "$state/process.new"
  mv -f -- "$state/process.new" "$state/process"
}

stop() {
  stopping=1
  if [ -z "$child" ]; then finish 0; fi
  say "stopping $child with $stop_signal"
  kill "-$stop_signal" "$child" 2> /dev/null || :
  waited=0
  while [ "$waited" -lt "$stop_timeout" ] && kill -0 "$child" 2> /dev/null; do
    case $(fields "$child") in [ZX]*) break ;; esac
    waited=$((waited + 1))
    sleep 1
  done
  finish 0
}

finish() { # leaves nothing of the service behind and ends with status $1
  if [ -n "$child" ]; then clear_session "$child" 0; fi
  if [ -n "$holder" ]; then kill -s TERM -- "-$holder" 2> /dev/null || :; fi
  rm -f -- "$state/ready" "$state/process" "$state/hold" "$state/held"
  exit "$1"
}

take_over() { # what an earlier runner left: adopted ($child is set), stopped, or in good hands already (exit)
  [ -e "$state/process" ] || return 0
  read -r old old_start runner runner_start supervisor old_boot old_digest < "$state/process"
  [ "$old_boot" = "$boot" ] || return 0
  if alive "$runner" "$runner_start" && [ "$runner" != $$ ]; then
    if [ "$(parent "$runner")" = "$supervisor" ]; then
      say "runs already under process $runner; this start does nothing"
      exit 1
    fi
    kill -KILL "$runner" 2> /dev/null || :   # its supervisor is gone: it watches for nobody
  fi
  # One that was still starting has lost its turn with its runner, so that it cannot be left to go on.
  if alive "$old" "$old_start" && [ "$old_digest" = "$digest" ] && { [ -e "$state/ready" ] || [ -z "$locks" ]; }; then
    say "adopting process $old, which an earlier runner started with this very definition"
    child=$old
    return 0
  fi
  if [ -e "/proc/$old" ] && [ "$(started "$old")" != "$old_start" ]; then return 0; fi   # its id is another's now
  if [ -n "$(members "$old")" ]; then
    say "stopping what is left of session $old"
    kill -TERM "$old" 2> /dev/null || :
    clear_session "$old" "$stop_timeout"
  fi
}

take_locks() { # a process of its own holds them until descriptor 8 closes, which the end of this shell does too
  [ -n "$locks" ] || return 0
  rm -f -- "$state/hold" "$state/held"
  mkfifo -m 600 -- "$state/hold" "$state/held"
  exec 7<> "$state/held" 8<> "$state/hold"
  set -- sh -c 'echo held >&7; exec cat'
  for lock in $(printf '%s\n' $locks | sort -u); do   # all in one order, so that no two wait for each other
    if [ ! -e "$lock" ] && ! mkdir -m 755 -- "$lock" 2> /dev/null && [ ! -e "$lock" ]; then
      lock=/tmp/${lock##*/}   # where /run/lock is root's alone
      mkdir -m 755 -- "$lock" 2> /dev/null || :
    fi
    set -- flock -o -x "$lock" "$@"
  done
  set -- sh -c '"$@" || echo failed >&7' hold "$@"
  say "waiting for its turn on: $locks"
  setsid "$@" < "$state/hold" > /dev/null 2>&1 8>&- &
  holder=$!
  read -r hold <&7
  if [ "$hold" = failed ]; then
    say "cannot lock $locks"
    finish 1
  fi
  say "has its turn"
}

give_locks() {
  if [ -n "$hold" ]; then
    hold=
    exec 7>&- 8>&-
    say "giving up its turn: $1"
  fi
}

rotate() { # whoever writes the log appends, so that a copy and an emptied file are enough
  if [ "$(stat -c %s -- "$log" 2> /dev/null || echo 0)" -lt 50000000 ]; then return 0; fi
  for older in 2 1; do
    if [ -e "$log.$older" ]; then mv -f -- "$log.$older" "$log.$((older + 1))"; fi
  done
  cp -- "$log" "$log.1" && : > "$log"
}

ended() { # whether the child has, without starting a process: asked every second for as long as it runs
  read -r line 2> /dev/null < "/proc/$child/stat" || return 0
  set -- ${line##*) }
  case $1 in [ZX]*) return 0 ;; esac
  [ "${20}" != "$child_start" ]
}

trap stop TERM INT
rotate
take_over
if [ -z "$child" ]; then
  rm -f -- "$state/ready"
  record
  take_locks
  say "starting: $*"
  setsid "$@" < /dev/null 7>&- 8>&- &
  child=$!
fi
record

waited=0
while [ ! -e "$state/ready" ] && alive "$child" "$child_start"; do
  if [ -z "$ready" ] || eval "$ready" > /dev/null 2>&1 7>&- 8>&- < /dev/null; then
    say "ready after $waited s"
    : > "$state/ready"
  elif [ "$waited" -ge "$ready_limit" ]; then
    give_locks "not ready within $ready_limit s"
  fi
  [ -e "$state/ready" ] || sleep 1
  waited=$((waited + 1))
done
if [ -e "$state/ready" ]; then give_locks "ready"; else give_locks "ended before it was ready"; fi

waited=0
while ! ended; do
  sleep 1
  waited=$((waited + 1))
  if [ $((waited % 10)) = 0 ]; then rotate; fi
done
status=0
wait "$child" 2> /dev/null || status=$?   # 127 for one that was adopted: nobody knows its status
if [ -z "$stopping" ]; then
  say "process $child ended with status $status"
  printf '%s %s %s\n' "$(date -u +%s)" "$status" "$digest" >> "$state/exits"
  finish "$status"
fi
