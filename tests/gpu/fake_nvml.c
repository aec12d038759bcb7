/* A libnvidia-ml.so.1 that says what a script says. Built against the true nvml.h, so that its structs are the real
 * ones. The script ($FAKE_NVML_SCRIPT) is read at the first nvmlInit of a session, for that is when the real library
 * lists the cards: whoever never shuts down sees no change. Its lines are
 *
 *   driver|missing                                   or: driver|mismatch
 *   gpu|UUID|NAME|TOTAL|USED|STATE|MIG               STATE: ok, lost, dying, bare, sealed;  MIG: on, off, none
 *   mig|UUID|NAME|TOTAL|USED                         an instance of the gpu above; "mig|-" is an empty slot
 *   proc|PID|MEMORY                                  on the gpu above; MEMORY may be "-": the driver does not tell
 *
 * lost: no handle. dying: a handle, then lost. bare: neither name nor memory are supported. sealed: no permission.
 */
#include <nvml.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = 16, SLOTS = 7 };
struct process { unsigned pid; unsigned long long memory; };
struct card {
    char uuid[96], name[96], state[16], mig[8];
    unsigned long long total, used;
    int present, slots, processes;
    struct process process[MAX];
};
static struct { struct card self, slot[SLOTS]; } gpus[MAX];
static int gpu_count, sessions;

static void copy(char *to, size_t size, const char *from) { snprintf(to, size, "%s", from ? from : ""); }

static void describe(struct card *card, char **rest) {
    memset(card, 0, sizeof *card);
    copy(card->uuid, sizeof card->uuid, strsep(rest, "|"));
    if (!strcmp(card->uuid, "-")) return;
    copy(card->name, sizeof card->name, strsep(rest, "|"));
    const char *total = strsep(rest, "|"), *used = strsep(rest, "|"), *state = strsep(rest, "|");
    card->total = total ? strtoull(total, NULL, 10) : 0;
    card->used = used ? strtoull(used, NULL, 10) : 0;
    copy(card->state, sizeof card->state, state ? state : "ok");
    copy(card->mig, sizeof card->mig, strsep(rest, "|"));
    card->present = 1;
}

static nvmlReturn_t enumerate(void) {
    const char *path = getenv("FAKE_NVML_SCRIPT");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[512];
    nvmlReturn_t result = NVML_SUCCESS;
    gpu_count = 0;
    if (!file) return NVML_ERROR_DRIVER_NOT_LOADED;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *rest = line, *verb = strsep(&rest, "|");
        struct card *last = gpu_count ? &gpus[gpu_count - 1].self : NULL;
        if (!strcmp(verb, "driver") && rest)
            result = !strcmp(rest, "missing") ? NVML_ERROR_DRIVER_NOT_LOADED : NVML_ERROR_LIB_RM_VERSION_MISMATCH;
        else if (!strcmp(verb, "gpu") && gpu_count < MAX)
            describe(&gpus[gpu_count++].self, &rest);
        else if (!strcmp(verb, "mig") && last && last->slots < SLOTS)
            describe(&gpus[gpu_count - 1].slot[last->slots++], &rest);
        else if (!strcmp(verb, "proc") && last && last->processes < MAX) {
            struct process *process = &last->process[last->processes++];
            process->pid = (unsigned)strtoul(strsep(&rest, "|"), NULL, 10);
            process->memory = rest && strcmp(rest, "-") ? strtoull(rest, NULL, 10) : UINT64_MAX;
        }
    }
    fclose(file);
    return result;
}

/* A handle is the address of its card. */
static nvmlReturn_t reach(nvmlDevice_t handle, struct card **card) {
    if (!sessions) return NVML_ERROR_UNINITIALIZED;
    *card = (struct card *)handle;
    if (!*card) return NVML_ERROR_INVALID_ARGUMENT;
    return strcmp((*card)->state, "dying") ? NVML_SUCCESS : NVML_ERROR_GPU_IS_LOST;
}
#define REACH(handle) struct card *card; { nvmlReturn_t r = reach(handle, &card); if (r) return r; }

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    nvmlReturn_t result = sessions ? NVML_SUCCESS : enumerate();
    if (result == NVML_SUCCESS) sessions++;
    return result;
}
nvmlReturn_t nvmlShutdown(void) {
    if (!sessions) return NVML_ERROR_UNINITIALIZED;
    sessions--;
    return NVML_SUCCESS;
}
const char *nvmlErrorString(nvmlReturn_t result) { (void)result; return "an error of the fake"; }
nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    copy(version, length, "580.65.06");
    return sessions ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;
}
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = (unsigned)gpu_count;
    return sessions ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;
}
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    if (!sessions) return NVML_ERROR_UNINITIALIZED;
    if ((int)index >= gpu_count) return NVML_ERROR_INVALID_ARGUMENT;
    struct card *card = &gpus[index].self;
    if (!strcmp(card->state, "lost")) return NVML_ERROR_GPU_IS_LOST;
    if (!strcmp(card->state, "sealed")) return NVML_ERROR_NO_PERMISSION;
    *device = (nvmlDevice_t)card;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
    REACH(device);
    copy(uuid, length, card->uuid);
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
    REACH(device);
    if (!strcmp(card->state, "bare")) return NVML_ERROR_NOT_SUPPORTED;
    copy(name, length, card->name);
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    REACH(device);
    if (!strcmp(card->state, "bare")) return NVML_ERROR_NOT_SUPPORTED;
    memory->total = card->total;
    memory->used = card->used;
    memory->free = card->total - card->used;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending) {
    REACH(device);
    if (!strcmp(card->mig, "none")) return NVML_ERROR_NOT_SUPPORTED;
    *current = *pending = !strcmp(card->mig, "on") ? NVML_DEVICE_MIG_ENABLE : NVML_DEVICE_MIG_DISABLE;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count) {
    REACH(device);
    *count = !strcmp(card->mig, "none") ? 0 : SLOTS;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *instance) {
    REACH(device);
    for (int i = 0; i < gpu_count; i++) {
        if (card != &gpus[i].self) continue;
        if (index >= SLOTS) return NVML_ERROR_INVALID_ARGUMENT;
        if ((int)index >= card->slots || !gpus[i].slot[index].present) return NVML_ERROR_NOT_FOUND;
        *instance = (nvmlDevice_t)&gpus[i].slot[index];
        return NVML_SUCCESS;
    }
    return NVML_ERROR_INVALID_ARGUMENT;
}
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *infos) {
    REACH(device);
    unsigned room = *count;
    *count = (unsigned)card->processes;
    if (room < *count) return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < *count; i++) {
        infos[i].pid = card->process[i].pid;
        infos[i].usedGpuMemory = card->process[i].memory;
        infos[i].gpuInstanceId = infos[i].computeInstanceId = UINT32_MAX;
    }
    return NVML_SUCCESS;
}
