# Manual pages. Those of the tree name the places of the default prefix; the installed ones name the places of
# the prefix at hand ($(to_prefix), src/local.mk).
manuals = docs/man/controlnetd.8 docs/man/controlnetd.conf.5 docs/man/controlnet.1
EXTRA_DIST += $(manuals)
man_MANS = installed/controlnetd.8 installed/controlnetd.conf.5 installed/controlnet.1
CLEANFILES += $(man_MANS)
installed/controlnetd.8: $(srcdir)/docs/man/controlnetd.8
	$(AM_V_GEN)$(MKDIR_P) installed && $(to_prefix) $(srcdir)/docs/man/controlnetd.8 >$@
installed/controlnetd.conf.5: $(srcdir)/docs/man/controlnetd.conf.5
	$(AM_V_GEN)$(MKDIR_P) installed && $(to_prefix) $(srcdir)/docs/man/controlnetd.conf.5 >$@
installed/controlnet.1: $(srcdir)/docs/man/controlnet.1
	$(AM_V_GEN)$(MKDIR_P) installed && $(to_prefix) $(srcdir)/docs/man/controlnet.1 >$@
