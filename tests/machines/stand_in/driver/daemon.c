/* STAND-IN for nvidia-persistenced and nv-fabricmanager: a daemon that shows that it runs, and whether it persists.
   Built with NAME, the folder below /run that it makes, and with SOCKET where it has one. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FOLDER "/run/" NAME

static void touch(const char *path, long number) {
  FILE *file = fopen(path, "w");
  if (file == NULL) return;
  fprintf(file, "%ld\n", number);
  fclose(file);
}

int main(int many, char **arguments) {
  int persistence = 1, caught;
  sigset_t ends;
  if (access("/dev/nvidiactl", F_OK) != 0) {
    fprintf(stderr, NAME ": the NVIDIA driver is not loaded (stand-in)\n");
    return 1;
  }
  for (int i = 1; i < many; i++)
    if (strcmp(arguments[i], "--no-persistence-mode") == 0) persistence = 0;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, NULL);
  mkdir(FOLDER, 0755);
#ifdef SOCKET
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = FOLDER "/socket"};
  int listening = socket(AF_UNIX, SOCK_STREAM, 0);
  unlink(address.sun_path);
  if (bind(listening, (struct sockaddr *)&address, sizeof address) != 0 || listen(listening, 8) != 0) return 1;
  chmod(address.sun_path, 0666);
#endif
  if (daemon(0, 0) != 0) return 1;
  touch(FOLDER "/" PIDFILE, getpid());
  if (persistence) touch(FOLDER "/persistence-mode", 1);
  sigwait(&ends, &caught);
  unlink(FOLDER "/persistence-mode");
  unlink(FOLDER "/" PIDFILE);
  unlink(FOLDER "/socket");
  return 0;
}
