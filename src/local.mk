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

# Files of the tree that name places name those of the default prefix: the installed ones name theirs.
to_prefix = $(SED) -e 's|/usr/local/share/controlnetd|$(pkgdatadir)|g' -e 's|/var/lib/controlnetd|$(localstatedir)/lib/controlnetd|g' \
    -e 's|/etc/controlnetd|$(sysconfdir)/controlnetd|g'
EXTRA_DIST += etc/controlnetd.conf
CLEANFILES += installed/controlnetd.conf
all-local: installed/controlnetd.conf
installed/controlnetd.conf: $(srcdir)/etc/controlnetd.conf
	$(AM_V_GEN)$(MKDIR_P) installed && $(to_prefix) $(srcdir)/etc/controlnetd.conf >$@

# The configuration belongs to whoever runs the daemon: one that is there, and says something else, stays,
# and the new one is put beside it. The folder for models of one's own is made, and the state folder around
# it, which is nobody else's business.
confdir = $(DESTDIR)$(sysconfdir)/controlnetd
statedir = $(DESTDIR)$(localstatedir)/lib/controlnetd
install-data-local: install-conf install-state
uninstall-local: uninstall-conf uninstall-state
install-conf: installed/controlnetd.conf
	@$(MKDIR_P) "$(confdir)"
	@if test ! -e "$(confdir)/controlnetd.conf" || \
	    cmp -s installed/controlnetd.conf "$(confdir)/controlnetd.conf"; then \
	    echo " $(INSTALL_DATA) installed/controlnetd.conf '$(confdir)'"; \
	    $(INSTALL_DATA) installed/controlnetd.conf "$(confdir)/controlnetd.conf"; \
	else \
	    echo "$(confdir)/controlnetd.conf is kept; the new one is controlnetd.conf.new beside it"; \
	    $(INSTALL_DATA) installed/controlnetd.conf "$(confdir)/controlnetd.conf.new"; \
	fi
uninstall-conf:
	@rm -f "$(confdir)/controlnetd.conf.new"
	@! cmp -s installed/controlnetd.conf "$(confdir)/controlnetd.conf" || \
	    rm -f "$(confdir)/controlnetd.conf"
	@rmdir "$(confdir)" 2>/dev/null || :
install-state:
	@test -e "$(statedir)" || test -h "$(statedir)" || \
	    { $(MKDIR_P) "$$(dirname "$(statedir)")" && $(INSTALL) -d -m 700 "$(statedir)"; }
	@test ! -d "$(statedir)" || $(MKDIR_P) "$(statedir)/models"
uninstall-state:
	@rmdir "$(statedir)/models" "$(statedir)" 2>/dev/null || :
.PHONY: install-conf uninstall-conf install-state uninstall-state

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
containerdir = $(pkgdatadir)/container
dist_container_DATA = etc/container/compose.yaml
kubernetesdir = $(pkgdatadir)/kubernetes
dist_kubernetes_DATA = etc/kubernetes/controlnetd.yaml
