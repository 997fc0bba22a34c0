/* A driver's library for tests: it answers from the file that FAKE_NVML names,
 * read anew at every call, so that a test changes the machine while it is being
 * watched. Lines are "KEY VALUE"; later ones win.
 *
 *   count 2                          GPUs
 *   gpu0.uuid GPU-…                  any reading of a device: see the functions
 *   gpu0.mig0.uuid MIG-…             its slices
 *   fail.FUNCTION.gpu0 15            the return of a function (or fail.FUNCTION for all)
 *   hang.FUNCTION.gpu0 1             it does not come back while the line is there
 *   xid.1 0 79 -1                    the first event: GPU, code, GPU instance
 *
 * With -DOLD it has only what a driver of long ago had. */
#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include "nvml.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct thing { int gpu, slice; };
static const nvmlDevice_t nobody;
#define THING(d) ((struct thing *)(d).handle)
#define HANDLE(t) ((void *)(t))
static struct thing things[8][9];

static int lookup(const char *key, char *value, size_t size) {
    FILE *f = fopen(getenv("FAKE_NVML"), "r");
    char line[512];
    int found = 0;
    size_t n = strlen(key);
    if (!f) return 0;
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, key, n) || line[n] != ' ') continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(value, size, "%s", line + n + 1);
        found = 1;
    }
    fclose(f);
    return found;
}

static void name_of(nvmlDevice_t d, char *out, size_t size) {
    struct thing *t = THING(d);
    if (t->slice < 0) snprintf(out, size, "gpu%d", t->gpu);
    else snprintf(out, size, "gpu%d.mig%d", t->gpu, t->slice);
}

/* entry is what every function does first: hang or fail as it is told. */
static nvmlReturn_t entry(const char *function, nvmlDevice_t d) {
    char who[64] = "", key[256], value[256];
    if (d.handle) name_of(d, who, sizeof who);
    for (int i = 0; i < 6000; i++) { /* a minute at most */
        int hangs = 0;
        snprintf(key, sizeof key, "hang.%s", function);
        hangs |= lookup(key, value, sizeof value);
        snprintf(key, sizeof key, "hang.%s.%s", function, who);
        hangs |= d.handle && lookup(key, value, sizeof value);
        if (!hangs) break;
        usleep(10000);
    }
    snprintf(key, sizeof key, "fail.%s.%s", function, who);
    if (d.handle && lookup(key, value, sizeof value)) return atoi(value);
    snprintf(key, sizeof key, "fail.%s", function);
    if (lookup(key, value, sizeof value)) return atoi(value);
    snprintf(key, sizeof key, "fail.*.%s", who);
    if (d.handle && lookup(key, value, sizeof value)) return atoi(value);
    return NVML_SUCCESS;
}

#define ENTER(d) { nvmlReturn_t r = entry(__func__, d); if (r) return r; }

static nvmlReturn_t field(nvmlDevice_t d, const char *name, char *value, size_t size) {
    char who[64], key[128];
    name_of(d, who, sizeof who);
    snprintf(key, sizeof key, "%s.%s", who, name);
    return lookup(key, value, size) ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

static nvmlReturn_t number(nvmlDevice_t d, const char *name, unsigned long long *out) {
    char value[256];
    nvmlReturn_t r = field(d, name, value, sizeof value);
    if (r == NVML_SUCCESS) *out = strtoull(value, NULL, 0);
    return r;
}

#define NUMBER(d, name, out) { unsigned long long v; nvmlReturn_t r = number(d, name, &v); if (r) return r; *(out) = v; }

static int total(void) { char v[64]; return lookup("count", v, sizeof v) ? atoi(v) : 0; }

nvmlReturn_t nvmlInit(void) { ENTER(nobody) return NVML_SUCCESS; }
nvmlReturn_t nvmlShutdown(void) { return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetCount(unsigned int *n) { ENTER(nobody) *n = total(); return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned int i, nvmlDevice_t *d) {
    if ((int)i >= total()) return NVML_ERROR_INVALID_ARGUMENT;
    things[i][0] = (struct thing){i, -1};
    d->handle = HANDLE(&things[i][0]);
    ENTER(*d)
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t d, char *out, unsigned int n) { ENTER(d) return field(d, "uuid", out, n); }
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t d, char *out, unsigned int n) { ENTER(d) return field(d, "name", out, n); }
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t d, nvmlMemory_t *m) {
    ENTER(d)
    NUMBER(d, "memory", &m->total)
    NUMBER(d, "used", &m->used)
    m->free = m->total - m->used;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, nvmlTemperatureSensors_t s, unsigned int *out) { ENTER(d) NUMBER(d, "temperature", out) return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t d, nvmlUtilization_t *u) { ENTER(d) NUMBER(d, "utilisation", &u->gpu) u->memory = 0; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t d, nvmlClockType_t c, unsigned int *out) {
    ENTER(d)
    NUMBER(d, c == NVML_CLOCK_SM ? "sm_clock" : "memory_clock", out)
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t d, unsigned long long *out) { ENTER(d) NUMBER(d, "throttle", out) return NVML_SUCCESS; }

#ifndef OLD
nvmlReturn_t nvmlInit_v2(void) { ENTER(nobody) return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *n) { ENTER(nobody) *n = total(); return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int i, nvmlDevice_t *d) { return nvmlDeviceGetHandleByIndex(i, d); }
nvmlReturn_t nvmlSystemGetDriverVersion(char *out, unsigned int n) { char v[80]; if (!lookup("driver", v, sizeof v)) return NVML_ERROR_NOT_SUPPORTED; snprintf(out, n, "%s", v); return NVML_SUCCESS; }
nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *out) { *out = 12040; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t d, nvmlMemory_v2_t *m) {
    ENTER(d)
    if (m->version != nvmlMemory_v2) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    NUMBER(d, "memory", &m->total)
    NUMBER(d, "used", &m->used)
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t d, int *major, int *minor) { ENTER(d) NUMBER(d, "cc_major", major) NUMBER(d, "cc_minor", minor) return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t d, nvmlPciInfo_t *p) { ENTER(d) memset(p, 0, sizeof *p); return field(d, "pci", p->busId, sizeof p->busId); }
nvmlReturn_t nvmlDeviceGetMaxPcieLinkGeneration(nvmlDevice_t d, unsigned int *out) { ENTER(d) NUMBER(d, "pcie_generation", out) return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetMaxPcieLinkWidth(nvmlDevice_t d, unsigned int *out) { ENTER(d) NUMBER(d, "pcie_width", out) return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t d, nvmlClockType_t c, unsigned int *out) {
    ENTER(d)
    NUMBER(d, c == NVML_CLOCK_SM ? "sm_clock_max" : "memory_clock_max", out)
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t d, nvmlTemperatureThresholds_t t, unsigned int *out) { ENTER(d) NUMBER(d, "slowdown", out) return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t d, unsigned long long *out) { ENTER(d) NUMBER(d, "throttle", out) return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned int *out) { ENTER(d) NUMBER(d, "power", out) return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t d, unsigned int *out) { ENTER(d) NUMBER(d, "power_limit", out) return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t d, nvmlMemoryErrorType_t e, nvmlEccCounterType_t c, unsigned long long *out) {
    char name[32];
    ENTER(d)
    snprintf(name, sizeof name, "ecc.%s.%s", c == NVML_VOLATILE_ECC ? "volatile" : "aggregate", e == NVML_MEMORY_ERROR_TYPE_CORRECTED ? "corrected" : "uncorrected");
    return number(d, name, out);
}
nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t d, unsigned int *corrected, unsigned int *uncorrected, unsigned int *pending, unsigned int *failed) {
    ENTER(d)
    NUMBER(d, "rows.corrected", corrected)
    NUMBER(d, "rows.uncorrected", uncorrected)
    NUMBER(d, "rows.pending", pending)
    NUMBER(d, "rows.failed", failed)
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t d, nvmlPageRetirementCause_t cause, unsigned int *n, unsigned long long *out) {
    unsigned int want;
    ENTER(d)
    NUMBER(d, cause == NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR ? "pages.double" : "pages.single", &want)
    if (*n < want) { *n = want; return NVML_ERROR_INSUFFICIENT_SIZE; }
    for (unsigned int i = 0; i < want; i++) out[i] = i;
    *n = want;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t d, nvmlEnableState_t *out) { ENTER(d) NUMBER(d, "pages.pending", out) return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetPcieReplayCounter(nvmlDevice_t d, unsigned int *out) { ENTER(d) NUMBER(d, "replay", out) return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t d, unsigned int *n, nvmlProcessInfo_t *out) {
    unsigned int want;
    ENTER(d)
    NUMBER(d, "processes", &want)
    if (*n < want) { *n = want; return NVML_ERROR_INSUFFICIENT_SIZE; }
    for (unsigned int i = 0; i < want; i++) { memset(&out[i], 0, sizeof out[i]); out[i].pid = 100 + i; out[i].usedGpuMemory = i ? 1024 : ~0ull; }
    *n = want;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t d, int n, nvmlFieldValue_t *v) {
    ENTER(d)
    for (int i = 0; i < n; i++) {
        unsigned long long out;
        v[i].nvmlReturn = v[i].fieldId == NVML_FI_DEV_GET_GPU_RECOVERY_ACTION ? number(d, "recovery", &out) : NVML_ERROR_NOT_SUPPORTED;
        v[i].valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
        v[i].value.uiVal = out;
    }
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t d, unsigned int *current, unsigned int *pending) { ENTER(d) NUMBER(d, "mig", current) *pending = *current; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t d, unsigned int *n) { ENTER(d) *n = 7; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t d, unsigned int i, nvmlDevice_t *out) {
    struct thing *t = THING(d), *s = &things[t->gpu][1 + i];
    char v[128];
    ENTER(d)
    *s = (struct thing){t->gpu, i};
    out->handle = HANDLE(s);
    return field(*out, "uuid", v, sizeof v) ? NVML_ERROR_NOT_FOUND : NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t d, unsigned int *out) { ENTER(d) NUMBER(d, "gi", out) return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t d, unsigned int *out) { ENTER(d) NUMBER(d, "ci", out) return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t d, nvmlDeviceAttributes_t *a) { ENTER(d) NUMBER(d, "sms", &a->multiprocessorCount) return NVML_SUCCESS; }

static unsigned int delivered;
nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) { ENTER(nobody) set->handle = HANDLE(&delivered); return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t d, unsigned long long types, nvmlEventSet_t set) { ENTER(d) return NVML_SUCCESS; }
nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *e, unsigned int ms) {
    char key[32], v[64];
    int gpu, code, instance;
    ENTER(nobody)
    snprintf(key, sizeof key, "xid.%u", delivered + 1);
    if (!lookup(key, v, sizeof v) || sscanf(v, "%d %d %d", &gpu, &code, &instance) != 3) return NVML_ERROR_TIMEOUT;
    delivered++;
    *e = (nvmlEventData_t){.device = {HANDLE(&things[gpu][0])}, .eventType = nvmlEventTypeXidCriticalError, .eventData = code, .gpuInstanceId = instance, .computeInstanceId = instance};
    return NVML_SUCCESS;
}
#endif
