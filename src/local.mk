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
include src/conf/local.mk
include src/front/local.mk
include src/worker/local.mk

controlnetdconfdir = $(sysconfdir)/controlnetd
dist_controlnetdconf_DATA = etc/controlnetd.conf

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
