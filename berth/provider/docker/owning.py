"""What of a service's folder is for the user that runs in its container: its state, which it writes, and its secrets.

Docker itself gives it away, since the login may not; all of it stays in the group of the login.
"""

from __future__ import annotations

HAND_OVER = r"""
hand_over() {
  of=$(docker container inspect --format '{{.Image}} {{len .HostConfig.CapDrop}} {{.Config.User}}' "$name")
  image=${of%% *} user=${of##* }
  user=${user%%:*}
  case $user in
    '' | 0 | root)
      case $of in *' 0 '*) return 0 ;; esac # it may write and read everywhere
      user=0 ;;
  esac
  owners=$(stat -c %u -- "$folder/state" "$folder"/secrets/* 2> /dev/null | sort -u)
  if [ "$owners" = "$user" ]; then
    case $(docker info --format '{{.SecurityOptions}}') in
      *rootless*) ;; # its users have other numbers outside
      *) return 0 ;;
    esac
  fi
  docker run --rm --user 0:0 --network none --security-opt no-new-privileges --volume "$folder:/service" \
    --entrypoint /bin/sh "$image" -ec "$own" own "$user"
}
"""
"""A function of the shell: reads `$name` of the container, `$folder` of the service and `$own`, which is `OWN`.

Root without all of Docker's capabilities is a user like any other.
"""

OWN = """
uid=$(id -u "$1" 2> /dev/null) || uid=$1 # a number without a name
cd /service
chown "$uid:$(stat -c %g .)" state
chmod 0775 state
for secret in secrets/*; do
  if [ -f "$secret" ] && [ "$(stat -c %u "$secret")" != "$uid" ]; then
    chown "$uid" "$secret"
    chmod 0440 "$secret"
  fi
done
"""
"""Runs in a container of the same image, as root; the login reads the secrets and removes what is in the state."""
