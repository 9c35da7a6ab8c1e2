include src/base/local.mk
include src/image/local.mk
include src/checkpoint/local.mk
include src/text/local.mk
include src/diffusion/local.mk
include src/tensor/local.mk
include src/model/local.mk
include src/backend/local.mk
include src/backend/cpu/onednn.mk
include src/backend/cuda/cuda.mk
include src/runtime/local.mk
include src/engine/local.mk
include src/decoding/local.mk
include src/cli/local.mk
include src/wire/local.mk
include src/webhook/local.mk
include src/inputs/local.mk
include src/store/local.mk
include src/job/local.mk
include src/api/local.mk
include src/notifier/local.mk
include src/http/local.mk

noinst_LIBRARIES += libcnworkerloop.a
libcnworkerloop_a_SOURCES = %reldir%/worker_loop.h %reldir%/worker_loop.c

noinst_LIBRARIES += libcnconf.a
libcnconf_a_SOURCES = %reldir%/conf.h %reldir%/conf.c %reldir%/conf_file.h %reldir%/conf_file.c \
    %reldir%/keyring.h %reldir%/keyring.c

sbin_PROGRAMS += controlnetd
controlnetd_CPPFLAGS = $(AM_CPPFLAGS) -DCN_REVISION='"$(cn_revision)"' $(MHD_CFLAGS) $(LIBUV_CFLAGS)
controlnetd_SOURCES = %reldir%/front.c %reldir%/args.h %reldir%/args.c \
    %reldir%/keys_cli.h %reldir%/keys_cli.c \
    %reldir%/fleet.h %reldir%/fleet.c %reldir%/notify.h %reldir%/notify.c \
    %reldir%/rlimits.h %reldir%/rlimits.c %reldir%/selfstat.h %reldir%/selfstat.c \
    %reldir%/store_cli.h %reldir%/store_cli.c
controlnetd_LDADD = libcnconf.a $(CNHTTP_LIBS) $(CNNOTIFIER_LIBS) libcnapi.a libcninputs.a libcnjob.a \
    libcnstore.a libcnwire.a libcnbase.a $(MHD_LIBS) $(LIBUV_LIBS) $(SQLITE_LIBS) $(JANSSON_LIBS) $(CURL_LIBS)

controlnetdconfdir = $(sysconfdir)/controlnetd
dist_controlnetdconf_DATA = etc/controlnetd.conf

pkglibexec_PROGRAMS += controlnet-worker
controlnet_worker_SOURCES = %reldir%/worker.c %reldir%/model_watch.h %reldir%/model_watch.c \
    %reldir%/worker_facts.h %reldir%/worker_facts.c
controlnet_worker_LDADD = libcnworkerloop.a libcnwire.a libcndecoding.a $(CNENGINE_LIBS)

# What workers start to read the pictures of requests.
pkglibexec_PROGRAMS += controlnet-decoder
controlnet_decoder_SOURCES = %reldir%/decoder.c
controlnet_decoder_LDADD = $(CNDECODER_LIBS)

# The same with the CUDA backend. Only this program needs NVIDIA's libraries.
if CN_CUDA
pkglibexec_PROGRAMS += controlnet-worker-cuda
controlnet_worker_cuda_SOURCES = %reldir%/worker.c %reldir%/model_watch.h %reldir%/model_watch.c \
    %reldir%/worker_facts.h %reldir%/worker_facts.c
controlnet_worker_cuda_LDADD = libcnworkerloop.a libcnwire.a libcndecoding.a $(CNENGINE_ABOVE) $(CNCUDA_LIBS) \
    $(CNENGINE_BELOW)
endif

systemdsystemunit_DATA = systemd/controlnetd.service systemd/controlnetd.socket \
    systemd/controlnetd-admin.socket
EXTRA_DIST += systemd/controlnetd.service.in systemd/controlnetd.socket \
    systemd/controlnetd-admin.socket systemd/nvidia.conf
CLEANFILES += systemd/controlnetd.service
systemd/controlnetd.service: $(srcdir)/systemd/controlnetd.service.in
	$(AM_V_GEN)$(MKDIR_P) systemd && $(SED) -e 's|@sbindir[@]|$(sbindir)|' -e 's|@sysconfdir[@]|$(sysconfdir)|' \
	    $(srcdir)/systemd/controlnetd.service.in >$@

# For operators: to be copied to where their tools look.
systemdexampledir = $(pkgdatadir)/systemd
systemdexample_DATA = systemd/nvidia.conf
prometheusdir = $(pkgdatadir)/prometheus
dist_prometheus_DATA = etc/prometheus/rules.yml etc/prometheus/alerts.yml
grafanadir = $(pkgdatadir)/grafana
dist_grafana_DATA = etc/grafana/controlnetd.json
proxydir = $(pkgdatadir)/proxy
dist_proxy_DATA = etc/proxy/haproxy.cfg etc/proxy/nginx.conf
