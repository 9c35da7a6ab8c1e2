noinst_LIBRARIES += libcncheckpoint.a
libcncheckpoint_a_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
libcncheckpoint_a_SOURCES = \
    %reldir%/checkpoint.h %reldir%/checkpoint.c %reldir%/checkpoint_priv.h \
    %reldir%/adapter.h %reldir%/adapter_priv.h %reldir%/adapter.c %reldir%/adapter_keys.c \
    %reldir%/adapter_read.c %reldir%/adapter_scale.c \
    %reldir%/classify.h %reldir%/classify.c \
    %reldir%/config.h %reldir%/config_file.c %reldir%/config_net.c \
    %reldir%/config_pipeline.c %reldir%/config_schedule.c %reldir%/config_text.c \
    %reldir%/infer.c \
    %reldir%/names.h %reldir%/names.c \
    %reldir%/open.c %reldir%/open_dir.c %reldir%/open_file.c %reldir%/settle.c \
    %reldir%/pickle_priv.h %reldir%/pickle.c %reldir%/pickle_call.c %reldir%/pickle_names.c \
    %reldir%/pickle_value.c \
    %reldir%/safetensors.h %reldir%/safetensors.c \
    %reldir%/safetensors_header.c %reldir%/safetensors_write.c %reldir%/scaled.c \
    %reldir%/sidecar.c %reldir%/sidecar_yaml.c %reldir%/snapshot.c \
    %reldir%/tensor_file.h %reldir%/tensor_file_priv.h %reldir%/tensor_file.c \
    %reldir%/tensor_set.c %reldir%/tensor_table.c \
    %reldir%/torch_legacy.c %reldir%/torch_tensors.c %reldir%/torch_zip.c \
    %reldir%/yaml.h %reldir%/yaml.c
