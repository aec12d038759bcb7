/* A libnvidia-ml.so.1 that says what a script says. Built against the true nvml.h, so that its structs are the real
 * ones. The script ($FAKE_NVML_SCRIPT) is read at the first nvmlInit of a session, for that is when the real library
 * lists the cards: whoever never shuts down sees no change. Its lines are
 *
 *   driver|missing                                   or: driver|mismatch, driver|hang, driver|crash, driver|stuck
 *   gpu|UUID|NAME|TOTAL|USED|STATE|MIG               MIG: on, off, none;  STATE: ok, lost, dying, bare, sealed,
 *                                                    reset, hanging, crashing
 *   mig|UUID|NAME|TOTAL|USED                         an instance of the gpu above; "mig|-" is an empty slot
 *   proc|PID|MEMORY                                  on the gpu above; MEMORY may be "-": the driver does not tell
 *   draw|PID|MEMORY                                  the same, of a process that draws
 *   gauge|NAME|NUMBER                                an instrument of the gpu above, in NVML's unit
 *
 * lost: no handle. dying: a handle, then lost. bare: neither name nor memory nor any instrument is supported.
 * sealed: no permission. reset: asks for a reset. hanging: a question about its memory is never answered.
 * crashing: such a question ends the process that asks.
 *
 * driver|stuck: no answer until there is a file $FAKE_NVML_SCRIPT.release. What holds a card open while a session begins,
 * by the names of open files, is added to $FAKE_NVML_SCRIPT.held.
 *
 * Xid errors stand in $FAKE_NVML_SCRIPT.xids as lines UUID|NUMBER; those written since the session listens are told.
 */
#include <dirent.h>
#include <nvml.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX = 16, SLOTS = 7 };
struct process { unsigned pid; unsigned long long memory; int draws; };
struct gauge { char name[32]; unsigned long long value; };
struct card {
    char uuid[96], name[96], state[16], mig[8];
    unsigned long long total, used;
    int present, slots, processes, gauges, listened;
    struct process process[MAX];
    struct gauge gauge[2 * MAX];
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

static void hang(void) { for (;;) pause(); }

static FILE *beside(const char *suffix, const char *mode) {
    char path[512];
    snprintf(path, sizeof path, "%s.%s", getenv("FAKE_NVML_SCRIPT") ? getenv("FAKE_NVML_SCRIPT") : "", suffix);
    return fopen(path, mode);
}
static void wait_for_release(void) {
    FILE *file;
    while (!(file = beside("release", "r"))) usleep(10000);
    fclose(file);
}
static void note_held(void) {
    DIR *folder = opendir("/proc/self/fd");
    FILE *file = beside("held", "a");
    struct dirent *entry;
    while (folder && file && (entry = readdir(folder))) {
        char path[300], target[512];
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length <= 0) continue;
        target[length] = 0;
        if (strstr(target, "/nvidia")) fprintf(file, "%s\n", strrchr(target, '/') + 1);
    }
    if (file) fclose(file);
    if (folder) closedir(folder);
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
        if (!strcmp(verb, "driver") && rest) {
            if (!strcmp(rest, "hang")) hang();
            if (!strcmp(rest, "crash")) abort();
            if (!strcmp(rest, "stuck")) { wait_for_release(); continue; }
            result = !strcmp(rest, "missing") ? NVML_ERROR_DRIVER_NOT_LOADED : NVML_ERROR_LIB_RM_VERSION_MISMATCH;
        }
        else if (!strcmp(verb, "gpu") && gpu_count < MAX)
            describe(&gpus[gpu_count++].self, &rest);
        else if (!strcmp(verb, "mig") && last && last->slots < SLOTS)
            describe(&gpus[gpu_count - 1].slot[last->slots++], &rest);
        else if (!strcmp(verb, "gauge") && last && last->gauges < 2 * MAX) {
            struct gauge *gauge = &last->gauge[last->gauges++];
            copy(gauge->name, sizeof gauge->name, strsep(&rest, "|"));
            gauge->value = rest ? strtoull(rest, NULL, 10) : 0;
        } else if ((!strcmp(verb, "proc") || !strcmp(verb, "draw")) && last && last->processes < MAX) {
            struct process *process = &last->process[last->processes++];
            process->pid = (unsigned)strtoul(strsep(&rest, "|"), NULL, 10);
            process->memory = rest && strcmp(rest, "-") ? strtoull(rest, NULL, 10) : UINT64_MAX;
            process->draws = !strcmp(verb, "draw");
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
    if (!strcmp((*card)->state, "reset")) return NVML_ERROR_RESET_REQUIRED;
    return strcmp((*card)->state, "dying") ? NVML_SUCCESS : NVML_ERROR_GPU_IS_LOST;
}
#define REACH(handle) struct card *card; { nvmlReturn_t r = reach(handle, &card); if (r) return r; }

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    if (!sessions) note_held();
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
    if (!strcmp(card->state, "hanging")) hang();
    if (!strcmp(card->state, "crashing")) abort();
    memory->total = card->total;
    memory->used = card->used;
    memory->free = card->total - card->used;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
    REACH(device);
    unsigned long long reserved = 0;
    int told = 0;
    for (int i = 0; i < card->gauges; i++)
        if (!strcmp(card->gauge[i].name, "reserved")) { reserved = card->gauge[i].value; told = 1; }
    if (!told) return NVML_ERROR_NOT_SUPPORTED;
    memory->total = card->total;
    memory->reserved = reserved;
    memory->used = card->used - reserved;
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
static nvmlReturn_t processes(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *infos, int draws) {
    REACH(device);
    unsigned room = *count, found = 0;
    for (int i = 0; i < card->processes; i++) found += card->process[i].draws == draws;
    *count = found;
    if (room < found) return NVML_ERROR_INSUFFICIENT_SIZE;
    for (int i = 0, next = 0; i < card->processes; i++) {
        if (card->process[i].draws != draws) continue;
        infos[next].pid = card->process[i].pid;
        infos[next].usedGpuMemory = card->process[i].memory;
        infos[next].gpuInstanceId = infos[next].computeInstanceId = UINT32_MAX;
        next++;
    }
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *infos) {
    return processes(device, count, infos, 0);
}
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *infos) {
    return processes(device, count, infos, 1);
}

/* What the script does not set the card does not support. */
static nvmlReturn_t gauge(nvmlDevice_t device, const char *name, unsigned long long *value) {
    REACH(device);
    for (int i = 0; i < card->gauges; i++)
        if (!strcmp(card->gauge[i].name, name)) { *value = card->gauge[i].value; return NVML_SUCCESS; }
    return NVML_ERROR_NOT_SUPPORTED;
}
#define GAUGE(device, name, target, type) { \
    unsigned long long value; nvmlReturn_t r = gauge(device, name, &value); if (r) return r; \
    *(target) = (type)value; return NVML_SUCCESS; }

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *use) {
    unsigned long long gpu, memory;
    nvmlReturn_t r = gauge(device, "utilisation", &gpu);
    if (!r) r = gauge(device, "memory_utilisation", &memory);
    if (r) return r;
    use->gpu = (unsigned)gpu;
    use->memory = (unsigned)memory;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, nvmlTemperatureSensors_t s, unsigned *v) { (void)s; GAUGE(d, "temperature", v, unsigned) }
nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t d, nvmlTemperatureThresholds_t t, unsigned *v) {
    GAUGE(d, t == NVML_TEMPERATURE_THRESHOLD_SLOWDOWN ? "slowdown" : "shutdown", v, unsigned)
}
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned *v) GAUGE(d, "power", v, unsigned)
nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t d, unsigned *v) GAUGE(d, "power_limit", v, unsigned)
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t d, unsigned long long *v) GAUGE(d, "energy", v, unsigned long long)
nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t d, nvmlClockType_t t, unsigned *v) { GAUGE(d, t == NVML_CLOCK_SM ? "clock" : "clock_memory", v, unsigned) }
nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t d, nvmlClockType_t t, unsigned *v) { GAUGE(d, t == NVML_CLOCK_SM ? "clock_max" : "clock_memory_max", v, unsigned) }
nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t d, unsigned long long *v) GAUGE(d, "throttle", v, unsigned long long)
nvmlReturn_t nvmlDeviceGetCurrPcieLinkWidth(nvmlDevice_t d, unsigned *v) GAUGE(d, "pcie_width", v, unsigned)
nvmlReturn_t nvmlDeviceGetMaxPcieLinkWidth(nvmlDevice_t d, unsigned *v) GAUGE(d, "pcie_width_max", v, unsigned)
nvmlReturn_t nvmlDeviceGetCurrPcieLinkGeneration(nvmlDevice_t d, unsigned *v) GAUGE(d, "pcie_generation", v, unsigned)
nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t d, nvmlMemoryErrorType_t t, nvmlEccCounterType_t c, unsigned long long *v) {
    (void)c;
    GAUGE(d, t == NVML_MEMORY_ERROR_TYPE_CORRECTED ? "ecc_corrected" : "ecc_uncorrected", v, unsigned long long)
}
nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t d, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed) {
    *corrected = *uncorrected = *pending = 0;
    GAUGE(d, "rows_failed", failed, unsigned)
}

static long heard; /* of the file of Xid errors, from where this session listens */
static FILE *xids(void) { return beside("xids", "r"); }
nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) {
    static int one;
    FILE *file = xids();
    if (file) { fseek(file, 0, SEEK_END); heard = ftell(file); fclose(file); } else heard = 0;
    *set = (nvmlEventSet_t)&one;
    return sessions ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;
}
nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) { (void)set; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set) {
    REACH(device);
    (void)set;
    if (!(types & nvmlEventTypeXidCriticalError)) return NVML_ERROR_NOT_SUPPORTED;
    card->listened = 1;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout) {
    (void)set; (void)timeout;
    char line[256];
    FILE *file = xids();
    if (!file) return NVML_ERROR_TIMEOUT;
    fseek(file, heard, SEEK_SET);
    while (fgets(line, sizeof line, file)) {
        heard = ftell(file);
        char *rest = line, *uuid = strsep(&rest, "|");
        for (int i = 0; i < gpu_count; i++) {
            if (strcmp(uuid, gpus[i].self.uuid) || !gpus[i].self.listened) continue;
            fclose(file);
            memset(data, 0, sizeof *data);
            data->device = (nvmlDevice_t)&gpus[i].self;
            data->eventType = nvmlEventTypeXidCriticalError;
            data->eventData = rest ? strtoull(rest, NULL, 10) : 0;
            return NVML_SUCCESS;
        }
    }
    fclose(file);
    return NVML_ERROR_TIMEOUT;
}
