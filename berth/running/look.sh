# Asks a machine what runs there; only reads. With a name as $1, that container alone is asked for, also where it does not
# run. What is said of processes is in base64, since their words may hold anything; of most of them the environment cannot
# be read, which is left empty. POSIX sh.

LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/snap/bin
export LC_ALL PATH
exec 2> /dev/null
set +eu
part() { printf '\n\036berth %s\n' "$1"; }
plain() { base64 < "$1" | tr -d '\n'; }
ids=
if command -v docker > /dev/null; then ids=${1:-$(docker ps --quiet --no-trunc)}; fi
part containers
if [ -n "$ids" ]; then docker container inspect $ids; fi
part images
if [ -n "$ids" ]; then
  docker image inspect --format '[{{json .Id}}, {{json .RepoDigests}}, {{json .Config.Env}}]' \
    $(docker container inspect --format '{{.Image}}' $ids | sort -u)
fi
if [ -n "$1" ]; then part end; exit; fi
part processes
for file in $(grep -lE 'vllm|sglang|text-generation-launcher|nginx|envoy' /proc/[0-9]*/cmdline); do
  pid=${file#/proc/} pid=${pid%/cmdline}
  parent=$(sed 's/.*) //' "/proc/$pid/stat" | cut -d' ' -f2)
  printf '%s %s x%s x%s x%s x%s\n' "$pid" "${parent:-0}" "$(plain "$file")" "$(plain "/proc/$pid/environ")" \
    "$(plain "/proc/$pid/cgroup")" "$(plain "/proc/${parent:-0}/cmdline")"
done
part proxies
{ if [ -n "$ids" ]; then
    docker container inspect --format '{{range .Mounts}}{{println .Destination .Source}}{{end}}' $ids
  fi
  echo /etc/nginx/nginx.conf /etc/nginx/nginx.conf
  echo /etc/nginx/conf.d /etc/nginx/conf.d
  echo /etc/nginx/sites-enabled /etc/nginx/sites-enabled
} | while read -r target source; do
  case $target in
    /etc/nginx*) find -L "$source" -type f -size -256k -exec cat -- {} + | base64 | tr -d '\n'; echo ;;
  esac
done
part commits
{ echo "$HOME/.cache/huggingface"
  if [ -n "$ids" ]; then
    docker container inspect --format '{{range .Mounts}}{{println .Source}}{{end}}' $ids | sort -u
  fi
} | while IFS= read -r folder; do
  for file in "$folder"/hub/models--*/refs/main "$folder"/models--*/refs/main; do
    if [ -f "$file" ]; then printf '%s %s\n' "$(cat "$file")" "$file"; fi
  done
done
part end
