/* STAND-IN for libnvidia-ml.so.1: as much of it as the NVIDIA container toolkit asks to describe whole cards. It answers
   from the recording of the machine (see nvidia-smi), and like the real one only while the driver is loaded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, SMALL = 7, NOT_LOADED = 9, VERSIONS = 18 };
enum { MOST = 16 };

struct card { int index; char uuid[96]; char name[96]; unsigned long long total, used; int major, minor; char bus[32]; };
static struct card cards[MOST];
static unsigned count;

static int read_cards(void) {
  char line[1024], *field, *rest;
  FILE *file = fopen("/etc/stand-in/gpus.csv", "r");
  count = 0;
  if (file == NULL) return NOT_LOADED;
  if (fgets(line, sizeof line, file) == NULL) line[0] = 0;
  while (count < MOST && fgets(line, sizeof line, file) != NULL) {
    struct card *card = &cards[count++];
    rest = line;
    for (int i = 0; (field = strsep(&rest, ",\n")) != NULL; i++) {
      if (i == 0) card->index = atoi(field);
      if (i == 1) snprintf(card->uuid, sizeof card->uuid, "%s", field);
      if (i == 2) snprintf(card->name, sizeof card->name, "%s", field);
      if (i == 3) card->total = strtoull(field, NULL, 10) << 20;
      if (i == 4) card->used = strtoull(field, NULL, 10) << 20;
      if (i == 5) sscanf(field, "%d.%d", &card->major, &card->minor);
      if (i == 13) snprintf(card->bus, sizeof card->bus, "%s", field);
    }
  }
  fclose(file);
  return SUCCESS;
}

static int loaded(void) {
  char version[64] = "";
  FILE *file = fopen("/sys/module/nvidia/version", "r");
  if (file == NULL) return NOT_LOADED;
  if (fscanf(file, "%63s", version) != 1) version[0] = 0;
  fclose(file);
  return strcmp(version, VERSION) == 0 ? SUCCESS : VERSIONS;
}

static int text(char *into, unsigned size, const char *from) {
  if (strlen(from) >= size) return SMALL;
  strcpy(into, from);
  return SUCCESS;
}

int nvmlInit_v2(void) { int status = loaded(); return status == SUCCESS ? read_cards() : status; }
int nvmlInit(void) { return nvmlInit_v2(); }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int status) {
  if (status == SUCCESS) return "Success";
  if (status == NOT_LOADED) return "Driver Not Loaded";
  if (status == VERSIONS) return "Driver/library version mismatch";
  if (status == NOT_SUPPORTED) return "Not Supported";
  return "Unknown Error (stand-in)";
}
int nvmlSystemGetDriverVersion(char *into, unsigned size) { return text(into, size, VERSION); }
int nvmlSystemGetNVMLVersion(char *into, unsigned size) { return text(into, size, VERSION); }
int nvmlSystemGetCudaDriverVersion(int *version) { *version = CUDA; return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = CUDA; return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *many) { *many = count; return SUCCESS; }
int nvmlDeviceGetCount(unsigned *many) { return nvmlDeviceGetCount_v2(many); }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct card **card) {
  if (index >= count) return INVALID;
  *card = &cards[index];
  return SUCCESS;
}
int nvmlDeviceGetHandleByIndex(unsigned index, struct card **card) { return nvmlDeviceGetHandleByIndex_v2(index, card); }
int nvmlDeviceGetHandleByUUID(const char *uuid, struct card **card) {
  for (unsigned i = 0; i < count; i++)
    if (strcmp(cards[i].uuid, uuid) == 0) return nvmlDeviceGetHandleByIndex_v2(i, card);
  return NOT_FOUND;
}
int nvmlDeviceGetUUID(struct card *card, char *into, unsigned size) { return text(into, size, card->uuid); }
int nvmlDeviceGetName(struct card *card, char *into, unsigned size) { return text(into, size, card->name); }
int nvmlDeviceGetIndex(struct card *card, unsigned *index) { *index = card->index; return SUCCESS; }
int nvmlDeviceGetMinorNumber(struct card *card, unsigned *minor) { *minor = card->index; return SUCCESS; }
int nvmlDeviceGetBrand(struct card *card, unsigned *brand) { (void)card; *brand = 0; return SUCCESS; }
int nvmlDeviceGetCudaComputeCapability(struct card *card, int *major, int *minor) {
  *major = card->major;
  *minor = card->minor;
  return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(struct card *card, unsigned long long memory[3]) {
  memory[0] = card->total;
  memory[1] = card->total - card->used;
  memory[2] = card->used;
  return SUCCESS;
}
int nvmlDeviceIsMigDeviceHandle(struct card *card, unsigned *is) { (void)card; *is = 0; return SUCCESS; }
int nvmlDeviceGetMigMode(struct card *card, unsigned *now, unsigned *later) {
  (void)card, (void)now, (void)later;
  return NOT_SUPPORTED;
}
int nvmlDeviceGetMaxMigDeviceCount(struct card *card, unsigned *many) { (void)card; *many = 0; return SUCCESS; }

struct pci { char old[16]; unsigned domain, bus, device, id, subsystem; char address[32]; };
int nvmlDeviceGetPciInfo_v3(struct card *card, struct pci *pci) {
  memset(pci, 0, sizeof *pci);
  sscanf(card->bus, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
  snprintf(pci->old, sizeof pci->old, "%04x:%02x:%02x.0", pci->domain, pci->bus, pci->device);
  return text(pci->address, sizeof pci->address, card->bus);
}
int nvmlDeviceGetPciInfo_v2(struct card *card, struct pci *pci) { return nvmlDeviceGetPciInfo_v3(card, pci); }
