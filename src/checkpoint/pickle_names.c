/* The classes and functions that pickles of models name, and what they mean here. Whatever is not
 * in this table is refused by its name. */
#include "base/base.h"
#include "checkpoint/pickle_priv.h"

#include <string.h>

static const struct cn_pickle_name names[] = {
    {"torch._utils._rebuild_tensor_v2", CN_ROLE_TENSOR, NULL},
    {"torch._utils._rebuild_tensor", CN_ROLE_TENSOR, NULL},
    {"torch._utils._rebuild_tensor_v3", CN_ROLE_TENSOR_V3, NULL},
    {"torch._utils._rebuild_parameter", CN_ROLE_PARAMETER, NULL},
    {"torch._utils._rebuild_parameter_with_state", CN_ROLE_PARAMETER, NULL},
    {"torch._tensor._rebuild_from_type_v2", CN_ROLE_SUBCLASS, NULL},
    {"collections.OrderedDict", CN_ROLE_DICT, NULL},
    {"torch.Size", CN_ROLE_SIZE, NULL},
    {"torch.storage.UntypedStorage", CN_ROLE_UNTYPED_STORAGE, NULL},
    {"torch.UntypedStorage", CN_ROLE_UNTYPED_STORAGE, NULL},
    {"torch.FloatStorage", CN_ROLE_STORAGE, "F32"},
    {"torch.HalfStorage", CN_ROLE_STORAGE, "F16"},
    {"torch.BFloat16Storage", CN_ROLE_STORAGE, "BF16"},
    {"torch.DoubleStorage", CN_ROLE_STORAGE, "F64"},
    {"torch.LongStorage", CN_ROLE_STORAGE, "I64"},
    {"torch.IntStorage", CN_ROLE_STORAGE, "I32"},
    {"torch.ShortStorage", CN_ROLE_STORAGE, "I16"},
    {"torch.CharStorage", CN_ROLE_STORAGE, "I8"},
    {"torch.ByteStorage", CN_ROLE_STORAGE, "U8"},
    {"torch.BoolStorage", CN_ROLE_STORAGE, "BOOL"},
    {"torch.ComplexFloatStorage", CN_ROLE_STORAGE, "C64"},
    {"torch.cuda.FloatStorage", CN_ROLE_STORAGE, "F32"},
    {"torch.cuda.HalfStorage", CN_ROLE_STORAGE, "F16"},
    {"torch.cuda.BFloat16Storage", CN_ROLE_STORAGE, "BF16"},
    {"torch.cuda.DoubleStorage", CN_ROLE_STORAGE, "F64"},
    {"torch.cuda.LongStorage", CN_ROLE_STORAGE, "I64"},
    {"torch.cuda.IntStorage", CN_ROLE_STORAGE, "I32"},
    {"torch.float32", CN_ROLE_DTYPE, "F32"},
    {"torch.float", CN_ROLE_DTYPE, "F32"},
    {"torch.float16", CN_ROLE_DTYPE, "F16"},
    {"torch.half", CN_ROLE_DTYPE, "F16"},
    {"torch.bfloat16", CN_ROLE_DTYPE, "BF16"},
    {"torch.float64", CN_ROLE_DTYPE, "F64"},
    {"torch.double", CN_ROLE_DTYPE, "F64"},
    {"torch.int64", CN_ROLE_DTYPE, "I64"},
    {"torch.int32", CN_ROLE_DTYPE, "I32"},
    {"torch.int16", CN_ROLE_DTYPE, "I16"},
    {"torch.int8", CN_ROLE_DTYPE, "I8"},
    {"torch.uint8", CN_ROLE_DTYPE, "U8"},
    {"torch.uint16", CN_ROLE_DTYPE, "U16"},
    {"torch.uint32", CN_ROLE_DTYPE, "U32"},
    {"torch.uint64", CN_ROLE_DTYPE, "U64"},
    {"torch.bool", CN_ROLE_DTYPE, "BOOL"},
    {"torch.complex64", CN_ROLE_DTYPE, "C64"},
    {"torch.float8_e4m3fn", CN_ROLE_DTYPE, "F8_E4M3"},
    {"torch.float8_e5m2", CN_ROLE_DTYPE, "F8_E5M2"},
    {"torch.float8_e4m3fnuz", CN_ROLE_DTYPE, "F8_E4M3FNUZ"},
    {"torch.float8_e5m2fnuz", CN_ROLE_DTYPE, "F8_E5M2FNUZ"},
    {"torch.float8_e8m0fnu", CN_ROLE_DTYPE, "F8_E8M0"},
    /* What trainers leave beside the weights: settings, callbacks, paths, numbers of numpy. */
    {"torch.Tensor", CN_ROLE_NOTE, NULL},
    {"torch.device", CN_ROLE_NOTE, NULL},
    {"torch.nn.parameter.Parameter", CN_ROLE_NOTE, NULL},
    {"torch.nn.modules.container.ParameterDict", CN_ROLE_NOTE, NULL},
    {"torch.serialization._get_layout", CN_ROLE_NOTE, NULL},
    {"pytorch_lightning.", CN_ROLE_NOTE, NULL},
    {"lightning.", CN_ROLE_NOTE, NULL},
    {"lightning_fabric.", CN_ROLE_NOTE, NULL},
    {"omegaconf.", CN_ROLE_NOTE, NULL},
    {"numpy.dtype", CN_ROLE_NOTE, NULL},
    {"numpy.ndarray", CN_ROLE_NOTE, NULL},
    {"numpy.core.multiarray.scalar", CN_ROLE_NOTE, NULL},
    {"numpy.core.multiarray._reconstruct", CN_ROLE_NOTE, NULL},
    {"numpy._core.multiarray.scalar", CN_ROLE_NOTE, NULL},
    {"numpy._core.multiarray._reconstruct", CN_ROLE_NOTE, NULL},
    {"_codecs.encode", CN_ROLE_NOTE, NULL},
    {"argparse.Namespace", CN_ROLE_NOTE, NULL},
    {"collections.defaultdict", CN_ROLE_NOTE, NULL},
    {"collections.Counter", CN_ROLE_NOTE, NULL},
    {"pathlib.PosixPath", CN_ROLE_NOTE, NULL},
    {"pathlib.WindowsPath", CN_ROLE_NOTE, NULL},
    {"typing.Any", CN_ROLE_NOTE, NULL},
    {"builtins.set", CN_ROLE_NOTE, NULL},
    {"builtins.frozenset", CN_ROLE_NOTE, NULL},
    {"builtins.dict", CN_ROLE_NOTE, NULL},
    {"builtins.list", CN_ROLE_NOTE, NULL},
    {"builtins.int", CN_ROLE_NOTE, NULL},
    {"builtins.float", CN_ROLE_NOTE, NULL},
    {"builtins.str", CN_ROLE_NOTE, NULL},
    {"builtins.bool", CN_ROLE_NOTE, NULL},
    {"__builtin__.set", CN_ROLE_NOTE, NULL},
    {"__builtin__.frozenset", CN_ROLE_NOTE, NULL},
    {"__builtin__.dict", CN_ROLE_NOTE, NULL},
    {"__builtin__.list", CN_ROLE_NOTE, NULL},
};

const struct cn_pickle_name *cn_pickle_name_find(const char *name)
{
    for (size_t i = 0; i < CN_LEN(names); i++) {
        size_t len = strlen(names[i].name);
        bool family = names[i].name[len - 1] == '.';

        if (family ? strncmp(name, names[i].name, len) == 0 : strcmp(name, names[i].name) == 0)
            return &names[i];
    }
    return NULL;
}
