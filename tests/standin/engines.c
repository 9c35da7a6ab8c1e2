/* Which of cuDNN's engines take the operation graphs that the backend builds: asks the real
 * library what it would do on an H200, which it answers without a device. Everything else
 * (runtime, cuBLASLt, kernels) is the stand-in's, and nothing is computed.
 *
 *     engines [f16|bf16|f32] [ops|shapes] [=PART OF A CASE'S NAME]
 *
 * One line for each case of the op table ("ops"), or of SD 1.5's sizes ("shapes"), that needs
 * cuDNN: the engines that were chosen, fused or not. Fails when a case cannot be compiled. It
 * wraps the calls that take a handle, because without a device there is none (-Wl,--wrap). */
#include "base/base.h"
#include "backend/backend.h"
#include "tests/backend/op_cases.h"
#include "tests/backend/op_run.h"
#include "tests/standin/standin.h"

#include <cudnn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What cuDNN asks of a device; the numbers are an H200's. */
static const char h200[] =
    "{\"cudaDeviceId\": 0, \"deviceVer\": 900, \"driverVer\": 13000, \"deviceName\": "
    "\"NVIDIA H200\", \"regsPerBlock\": 65536, \"multiProcessorCount\": 132, \"warpSize\": 32, "
    "\"maxSharedMemoryPerBlock\": 49152, \"maxSharedMemoryPerBlockOptin\": 232448, "
    "\"reservedSharedMemoryPerBlock\": 1024, \"maxRegistersPerSM\": 65536, "
    "\"maxSharedMemoryPerSM\": 233472, \"maxCtasPerSM\": 32, \"maxThreadsPerBlock\": 1024, "
    "\"maxThreadsPerSM\": 2048, \"pciDeviceId\": 590680286, \"isTccDriver\": 0, "
    "\"supportCoopLaunch\": 1, \"totalGlobalMem\": 150754820096, \"smClockRateKHz\": 1980000, "
    "\"memClockRateKHz\": 3201000, \"l2CacheSize\": 62914560, \"maxGridSize\": [2147483647, 65535, "
    "65535], \"maxBlockSize\": [1024, 1024, 64]}";

static cudnnBackendDescriptor_t device;
static char chosen[256];

cudnnStatus_t __real_cudnnBackendSetAttribute(cudnnBackendDescriptor_t p,
                                              cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, int64_t n,
                                              const void *value);
cudnnStatus_t __wrap_cudnnBackendSetAttribute(cudnnBackendDescriptor_t p,
                                              cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, int64_t n,
                                              const void *value);
cudnnStatus_t __real_cudnnBackendFinalize(cudnnBackendDescriptor_t p);
cudnnStatus_t __wrap_cudnnBackendFinalize(cudnnBackendDescriptor_t p);
cudnnStatus_t __wrap_cudnnCreate(cudnnHandle_t *handle);
cudnnStatus_t __wrap_cudnnDestroy(cudnnHandle_t handle);

cudnnStatus_t __wrap_cudnnCreate(cudnnHandle_t *handle)
{
    cudnnStatus_t s;

    *handle = NULL;
    if (device != NULL)
        return CUDNN_STATUS_SUCCESS;
    s = cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &device);
    if (s == CUDNN_STATUS_SUCCESS)
        s = __real_cudnnBackendSetAttribute(device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                                            CUDNN_TYPE_CHAR, sizeof(h200) - 1, h200);
    return s == CUDNN_STATUS_SUCCESS ? __real_cudnnBackendFinalize(device) : s;
}

cudnnStatus_t __wrap_cudnnDestroy(cudnnHandle_t handle)
{
    (void)handle;
    return CUDNN_STATUS_SUCCESS;
}

/* The engine of a configuration. */
static long long engine_of(cudnnBackendDescriptor_t config)
{
    cudnnBackendDescriptor_t engine = NULL;
    int64_t n = 0, index = -1;

    cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine);
    cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                             &n, &engine);
    cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &n,
                             &index);
    cudnnBackendDestroyDescriptor(engine);
    return index;
}

static cudnnBackendDescriptor_t plan; /* being made */
static long long plan_engine;

/* A handle stands for a device: the description takes its place. */
cudnnStatus_t __wrap_cudnnBackendSetAttribute(cudnnBackendDescriptor_t p,
                                              cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, int64_t n,
                                              const void *value)
{
    cudnnStatus_t s;

    if (name == CUDNN_ATTR_OPERATIONGRAPH_HANDLE)
        return CUDNN_STATUS_SUCCESS;
    if (name == CUDNN_ATTR_EXECUTION_PLAN_HANDLE)
        return __real_cudnnBackendSetAttribute(p, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
                                               CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &device);
    s = __real_cudnnBackendSetAttribute(p, name, type, n, value);
    if (name == CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG) {
        plan = p;
        plan_engine = engine_of(*(cudnnBackendDescriptor_t const *)value);
    }
    if (name == CUDNN_ATTR_ENGINEHEUR_MODE && s == CUDNN_STATUS_SUCCESS)
        s = __real_cudnnBackendSetAttribute(p, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP,
                                            CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &device);
    return s;
}

cudnnStatus_t __wrap_cudnnBackendFinalize(cudnnBackendDescriptor_t p)
{
    cudnnStatus_t s = __real_cudnnBackendFinalize(p);
    size_t at = strlen(chosen);

    if (p == plan)
        snprintf(chosen + at, sizeof(chosen) - at, " %lld%s", plan_engine,
                 s == CUDNN_STATUS_SUCCESS ? "" : "!");
    plan = p == plan ? NULL : plan;
    return s;
}

/* 1 when it cannot be compiled. */
static int ask(const struct op_case *c)
{
    struct cn_graph *g = op_case_graph(c);
    struct cn_param_source source = op_source(g);
    struct cn_err err = CN_ERR_INIT;
    struct cn_backend *b;
    struct cn_weights *w = NULL;
    struct cn_plan *p = NULL;
    int rc = cn_backend_open("cuda", &op_opts, &b, &err);

    chosen[0] = '\0';
    if (rc == CN_OK)
        rc = cn_weights_new(b, &source, &w, &err);
    if (rc == CN_OK)
        rc = cn_plan_compile(b, g, w, CN_DTYPE_COUNT, 0, &p, &err);
    if (rc == CN_EINVAL && strstr(err.msg, "cannot run") != NULL)
        rc = CN_OK; /* no kernel of the backend's, so no engine to ask for */
    else if (rc < 0)
        printf("%-44s FAILS:%s: %s\n", c->name, chosen, err.msg);
    else if (chosen[0] != '\0')
        printf("%-44s%s\n", c->name, chosen);
    cn_plan_free(p);
    cn_weights_free(w);
    cn_backend_close(b);
    cn_graph_free(g);
    return rc < 0;
}

int main(int argc, char **argv)
{
    const struct op_case *c = op_cases;
    const char *part = "";
    int failed = 0;

    op_opts.dtype = CN_F16;
    standin_set_memory((size_t)1 << 40);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "shapes") == 0)
            c = op_shapes;
        else if (strcmp(argv[i], "f32") == 0)
            op_opts.dtype = CN_F32;
        else if (strcmp(argv[i], "bf16") == 0)
            op_opts.dtype = CN_BF16;
        else if (argv[i][0] == '=')
            part = argv[i] + 1;
    }
    printf("cuDNN %zu on an H200, %s; a number is an engine, \"!\" means that it did not start\n",
           cudnnGetVersion(), cn_dtype_name(op_opts.dtype));
    for (; c->name != NULL; c++)
        failed += strstr(c->name, part) != NULL ? ask(c) : 0;
    printf("%d cannot be compiled\n", failed);
    return failed > 0;
}
