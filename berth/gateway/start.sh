# Starts Envoy and lets it end without breaking a stream: start.sh FOLDER ADMIN_PORT DRAIN_S ACCESS_LOG ENVOY [FLAG...]
#
# Envoy ends at once when it is told to (SIGTERM), and every stream with it. So at the end its listeners are taken away
# first, which closes its ports and lets what runs go on; when the last request is answered, or DRAIN_S seconds later,
# it is told to end. Envoy reads its listeners from serving/, a copy that is made at each start.
#
# ACCESS_LOG is where its standard output goes, - for this one's. Bash, because it can ask the admin interface by itself.

folder=$1 admin=$2 drain=$3 access=$4
shift 4
served=$folder/serving/listeners.json

swap() { # standard input becomes the listeners that Envoy reads
  cat > "$served.new" && mv -f -- "$served.new" "$served"
}

running() { # how many requests Envoy works on; fails when it does not answer
  exec 3<> "/dev/tcp/127.0.0.1/$admin" || return 1
  printf 'GET /stats?filter=^http.gateway.downstream_rq_active$ HTTP/1.1\r\nHost: berth\r\nConnection: close\r\n\r\n' >&3
  answer=$(cat <&3)
  exec 3>&-
  [[ $answer =~ rq_active:\ ([0-9]+) ]] && echo "${BASH_REMATCH[1]}"
}

drain() {
  trap '' TERM INT
  echo '{"version_info": "drained", "resources": []}' | swap
  looks=0
  while [ "$looks" -lt $((drain * 5)) ] && kill -0 "$child" 2> /dev/null; do
    sleep 0.2   # before the first look too: Envoy takes the file over in its own time
    looks=$((looks + 1))
    if [ "$(running 2> /dev/null || echo 0)" = 0 ]; then break; fi
  done
  kill -TERM "$child" 2> /dev/null
  if [ -n "$pause" ]; then kill "$pause" 2> /dev/null; fi
  wait "$child"
  exit
}

rotate() { # Envoy appends, so that a copy and an emptied file are enough
  if [ "$(stat -c %s -- "$access" 2> /dev/null || echo 0)" -lt 50000000 ]; then return 0; fi
  for older in 2 1; do
    if [ -e "$access.$older" ]; then mv -f -- "$access.$older" "$access.$((older + 1))"; fi
  done
  cp -- "$access" "$access.1" && : > "$access"
}

mkdir -p -- "$folder/serving" || exit 1
swap < "$folder/listeners.json" || exit 1
if [ "$access" = - ]; then
  "$@" &
else
  (umask 077 && : >> "$access") || exit 1
  "$@" >> "$access" &
fi
child=$! pause=
trap drain TERM INT
while kill -0 "$child" 2> /dev/null; do
  if [ "$access" != - ]; then rotate; fi
  sleep 10 &
  pause=$!
  wait -n "$child" "$pause"   # the end of Envoy, ten seconds, or a signal
  kill "$pause" 2> /dev/null
done
wait "$child"
